package nettest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// patience is how long a test waits for something that is bound to happen.
const patience = 20 * time.Second

// Alone puts the thread of the test into a new network, with a loopback and nothing else. It stays there
// and ends with the test.
func Alone(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	setUp(t, "lo")
}

// NeedTUN skips a test where the user may not have TUN devices. Where there are none at all, it goes on, to
// fail: then the machine lacks what the product needs.
func NeedTUN(t testing.TB) {
	t.Helper()
	file, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if errors.Is(err, os.ErrPermission) {
		t.Skipf("%v; as root: chmod 666 /dev/net/tun", err)
	}
	file.Close() // harmless where it is not open
}

// A Host is a network that a test can enter and leave.
type Host struct {
	t    testing.TB
	file *os.File // the namespace
}

// NewHost makes a network with a loopback and nothing else.
func NewHost(t testing.TB) *Host {
	t.Helper()
	runtime.LockOSThread()
	before := current(t)
	defer before.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	setUp(t, "lo")
	h := &Host{t: t, file: current(t)}
	t.Cleanup(func() { h.file.Close() })
	enter(t, before)
	return h
}

// Do calls f inside the network. Sockets and processes that f makes belong to it; goroutines do not.
func (h *Host) Do(f func()) {
	h.t.Helper()
	before := current(h.t)
	defer before.Close()
	defer enter(h.t, before)
	enter(h.t, h.file)
	f()
}

// Join connects two hosts by a cable, which is called eth0 at both ends.
func Join(t testing.TB, a, b *Host, addressA, addressB netip.Prefix) {
	t.Helper()
	t.Helper()
	Cable(t, a, "eth0", b, "eth0")
	a.Address(addressA)
	b.Address(addressB)
}

// Cable connects two hosts by a cable with a name at each end.
func Cable(t testing.TB, a *Host, nameA string, b *Host, nameB string) {
	t.Helper()
	a.Do(func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = nameA
		check(t, netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: attrs, PeerName: nameB, PeerNamespace: netlink.NsFd(int(b.file.Fd())),
		}))
	})
}

// Address gives eth0 an address.
func (h *Host) Address(p netip.Prefix) {
	h.t.Helper()
	h.AddressOn("eth0", p)
}

// AddressOn gives a link addresses, and brings it up.
func (h *Host) AddressOn(name string, prefixes ...netip.Prefix) {
	h.t.Helper()
	h.Do(func() {
		link, err := netlink.LinkByName(name)
		check(h.t, err)
		for _, p := range prefixes {
			address, err := netlink.ParseAddr(p.String())
			check(h.t, err)
			if p.Addr().Is6() {
				address.Flags = unix.IFA_F_NODAD
			}
			check(h.t, netlink.AddrAdd(link, address))
		}
		check(h.t, netlink.LinkSetUp(link))
	})
}

func setUp(t testing.TB, name string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	check(t, err)
	check(t, netlink.LinkSetUp(link))
}

func current(t testing.TB) *os.File {
	t.Helper()
	file, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	check(t, err)
	return file
}

func enter(t testing.TB, file *os.File) {
	t.Helper()
	check(t, unix.Setns(int(file.Fd()), unix.CLONE_NEWNET))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Eventually waits until a condition holds.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("timed out: %s", what)
		case <-tick.C:
		}
	}
}
