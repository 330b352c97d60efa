package linux

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/agent/linux/nettest"
)

// noTunnels starts nothing: New must not.
type noTunnels struct{}

func (noTunnels) Start(context.Context, string, int) error {
	return errors.New("New started a tunnel process")
}

func (noTunnels) Hold(string) func(context.Context) error {
	return func(context.Context) error { return nil }
}

// TestNewRefuses lists what a host can lack, and what its owner is told.
func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		lack   func(t *testing.T)
		option Options
		says   string
	}{
		{"an unknown backend", nil, Options{Backend: "cloud"}, "want auto, kernel or userspace"},
		{"no starter", nil, Options{Backend: Userspace}, "cannot start tunnel processes"},
		{"no capability", dropNetAdmin, Options{Backend: Auto, Tunnels: noTunnels{}}, "CAP_NET_ADMIN"},
		{"no capability, kernel", dropNetAdmin, Options{Backend: InKernel}, "CAP_NET_ADMIN"},
		{"no capability, userspace", dropNetAdmin, Options{Backend: Userspace, Tunnels: noTunnels{}}, "CAP_NET_ADMIN"},
		{"no capability, to clear up", dropNetAdmin, Options{Backend: None}, "CAP_NET_ADMIN"},
		{"no TUN", hideTUN, Options{Backend: Userspace, Tunnels: noTunnels{}}, "modprobe tun"},
		{"a masked TUN", maskTUN, Options{Backend: Userspace, Tunnels: noTunnels{}}, "not the device"},
		{"a probe in the way", func(t *testing.T) { addBridge(t, probeName) }, Options{Backend: InKernel}, "in the way"},
	} {
		t.Run(c.name, func(t *testing.T) {
			nettest.Alone(t)
			if c.lack != nil {
				c.lack(t)
			}
			k, err := New(c.option)
			if err == nil {
				k.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %q, want one that says %q", err, c.says)
			}
		})
	}
}

// TestNewLeavesNothing probes twice, the second time over what a crash has left of the first.
func TestNewLeavesNothing(t *testing.T) {
	nettest.Alone(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = probeName
	hasKernel := netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs}) == nil
	if !hasKernel {
		nettest.NeedTUN(t)
	}
	k, err := New(Options{Tunnels: noTunnels{}})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if want := map[bool]string{true: InKernel, false: Userspace}[hasKernel]; k.Backend() != want {
		t.Errorf("backend %s, want %s", k.Backend(), want)
	}
	links, err := netlink.LinkList()
	if err != nil || len(links) != 1 {
		t.Errorf("links %v, %v; want the loopback alone", links, err)
	}
	if k.Writes() != 0 {
		t.Errorf("probing counts as %d writes", k.Writes())
	}
	_, err = New(Options{Backend: InKernel})
	if hasKernel != (err == nil) || err != nil && !strings.Contains(err.Error(), "--backend userspace") {
		t.Errorf("backend kernel: %v", err)
	}
}

// dropNetAdmin takes the capability from the thread of the test.
func dropNetAdmin(t *testing.T) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	err := unix.Capget(&header, &caps[0])
	caps[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	if err := errors.Join(err, unix.Capset(&header, &caps[0])); err != nil {
		t.Fatal(err)
	}
}

// maskTUN puts /dev/null over /dev/net/tun for the thread of the test, as container engines do.
func maskTUN(t *testing.T) {
	t.Helper()
	err := errors.Join(unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS),
		unix.Mount("/dev/null", "/dev/net/tun", "", unix.MS_BIND, ""))
	if err != nil {
		t.Fatal(err)
	}
}

// hideTUN takes /dev/net/tun from the thread of the test.
func hideTUN(t *testing.T) {
	t.Helper()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/dev/net/tun"); err == nil {
		t.Fatal("it is still there")
	}
}
