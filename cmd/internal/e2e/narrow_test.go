package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// largeTransfer is what goes through a tunnel to see whether large packets do.
const largeTransfer = 10 << 20

// TestNarrowWays has uplinks of several sizes, once so that their hosts know of it and once in the middle of
// the way, where nobody says a word because ICMP is dropped. Large transfers arrive, both ways. Kernel WireGuard lets
// routers divide its packets where they can, so that hosts find out less often.
func TestNarrowWays(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	kernel := m.status("shop").Backend == "kernel"
	if err := m.lab.DropICMP(); err != nil {
		t.Fatal(err)
	}
	for _, mtu := range []int{1492, 1400, 1280} {
		t.Run(fmt.Sprintf("uplink of %d", mtu), func(t *testing.T) {
			m.narrow(t, "warehouse", mtu, mtu)
			until(t, patience, "the warehouse, which knows it, sends what fits", func() bool { return fit(m.sends("warehouse"), mtu) })
			if !kernel {
				until(t, patience, "the shop, which finds out, sends what fits", func() bool { return fit(m.sends("shop"), mtu) })
			}
			m.transferAll(t, mtu >= 1340) // IPv6 takes no less than 1280 in the tunnel
			m.narrow(t, "warehouse", 1500, 1500)
		})
		t.Run(fmt.Sprintf("black hole of %d", mtu), func(t *testing.T) {
			m.narrow(t, "warehouse", 1500, mtu)
			m.narrow(t, "shop", 1500, mtu)
			if mtu-60 < 1420 {
				takes := mtu
				if kernel { // what the router's link does not take is not divided; for VLANs it takes 4 bytes more
					takes += 4
					m.restart("shop") // agents try after their start
					m.restart("warehouse")
				}
				m.reported(t, takes)
			}
			m.transferAll(t, mtu >= 1340)
			m.narrow(t, "warehouse", 1500, 1500)
			m.narrow(t, "shop", 1500, 1500)
		})
	}
	for _, h := range []string{"shop", "warehouse"} {
		until(t, 2*patience, h+" is as before", func() bool {
			return m.sends(h) == 1420 && m.status(h).State == wire.StateOK
		})
	}
}

func (m *mesh) narrow(t *testing.T, host string, own, router int) {
	t.Helper()
	if err := m.lab.Host(host).SetMTU(own, router); err != nil {
		t.Fatal(err)
	}
}

// fit says whether a size is what fits into packets of an MTU, but for what the tunnel pads and for how exact
// a trial is.
func fit(size, mtu int) bool { return size <= mtu-60 && size >= min(1420, mtu-80) }

// sends is the size of the packets that a host sends to the other one.
func (m *mesh) sends(host string) int { return m.status(host).Peers[0].MTU }

// reported wants to hear of a black hole by each way there is.
func (m *mesh) reported(t *testing.T, mtu int) {
	t.Helper()
	for _, h := range []string{"shop", "warehouse"} {
		until(t, patience, h+" finds the black hole", func() bool {
			return peers.Problems(m.status(h).Problems).Has("mtu-black-hole")
		})
		if got := m.sends(h); !fit(got, mtu) {
			t.Errorf("%s sends packets of %d over a way of %d", h, got, mtu)
		}
	}
	var sum wire.PingSummary
	out := m.must("shop", "ping", "warehouse", "--count", "1", "-o", "json")
	if err := json.Unmarshal([]byte(out), &sum); err != nil || sum.PathMTU > mtu-60 || sum.MTU != 1420 {
		t.Errorf("ping says %s (%v)", out, err)
	}
	out, _, code := m.run("shop", "doctor", "-o", "json")
	if code != 1 && code != 3 || !strings.Contains(out, "lost on the way") {
		t.Errorf("doctor, exit code %d: %s", code, out)
	}
}

// transferAll sends a lot both ways, in each family that the way can carry.
func (m *mesh) transferAll(t *testing.T, six bool) {
	t.Helper()
	for _, ends := range [][2]string{{"shop", "warehouse"}, {"warehouse", "shop"}} {
		s := m.status(ends[1])
		transfer(t, m.lab.Host(ends[0]), m.lab.Host(ends[1]), s.Address)
		if six {
			transfer(t, m.lab.Host(ends[0]), m.lab.Host(ends[1]), s.Address6)
		}
	}
}

// transfer sends a lot over TCP, and wants it back as its sum.
func transfer(t *testing.T, from, to *lab.Host, addr netip.Addr) {
	t.Helper()
	var l net.Listener
	err := to.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		sum := sha256.New()
		if _, err := io.CopyN(sum, conn, largeTransfer); err == nil {
			_, _ = conn.Write(sum.Sum(nil)) // who waits for it notices
		}
	}()
	sent := bytes.Repeat([]byte("order "), largeTransfer/6+1)[:largeTransfer]
	began := time.Now()
	err = from.Do(func() error {
		conn, err := net.DialTimeout("tcp", l.Addr().String(), patience)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := conn.Write(sent); err != nil {
			return err
		}
		got := make([]byte, sha256.Size)
		if _, err := io.ReadFull(conn, got); err != nil {
			return err
		}
		if want := sha256.Sum256(sent); !bytes.Equal(got, want[:]) {
			return fmt.Errorf("something else arrived")
		}
		return nil
	})
	if err != nil {
		t.Errorf("10 MB from %s to %v: %v", from.Name(), addr, err)
		return
	}
	t.Logf("10 MB from %s to %v in %v", from.Name(), addr, time.Since(began).Round(time.Millisecond))
}
