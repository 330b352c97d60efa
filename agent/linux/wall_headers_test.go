package linux

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// TestWallSeesThroughHeaders: a port is found in fragments and behind extension headers, so nobody comes past a policy
// with these, and who is let in is let in with them.
func TestWallSeesThroughHeaders(t *testing.T) {
	w := newWalled(t)
	w.hears.AddressOn("wrn0", netip.MustParsePrefix("fd00:90::1/64"))
	w.asks.AddressOn("wrn0", netip.MustParsePrefix("fd00:90::2/64"))
	introduce(t, w.hears, "fd00:90::1", w.asks)
	w.allow("udp/5000")
	for _, c := range []struct {
		name, to string
		size     int
		options  bool
	}{
		{"IPv4, one packet", "10.90.0.1", 100, false},
		{"IPv4, fragments", "10.90.0.1", 4000, false},
		{"IPv6, one packet", "[fd00:90::1]", 100, false},
		{"IPv6, fragments", "[fd00:90::1]", 4000, false},
		{"IPv6, destination options", "[fd00:90::1]", 100, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused, allowed := hear(t, w, c.to+":5001"), hear(t, w, c.to+":5000")
			before := w.count(peers.CounterRefused)
			for _, port := range []string{"5001", "5000"} { // in this order, so that the first is there when the second is
				say(t, w, c.to+":"+port, c.size, c.options)
			}
			b := make([]byte, 8000)
			_ = allowed.SetReadDeadline(time.Now().Add(5 * time.Second))
			if n, _, err := allowed.ReadFrom(b); err != nil || n != c.size {
				t.Errorf("of what is allowed %d bytes arrive, %v", n, err)
			}
			_ = refused.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if n, _, err := refused.ReadFrom(b); err == nil {
				t.Errorf("%d bytes arrive that no flow allows", n)
			}
			if w.count(peers.CounterRefused) == before {
				t.Error("what was refused is not counted")
			}
		})
	}
}

// introduce tells a host where an address of another one is, as nobody has to ask in a tunnel.
func introduce(t *testing.T, who *nettest.Host, at string, to *nettest.Host) {
	t.Helper()
	var whose, where netlink.Link
	var err error
	who.Do(func() { whose, err = netlink.LinkByName("wrn0") })
	if err != nil {
		t.Fatal(err)
	}
	to.Do(func() {
		if where, err = netlink.LinkByName("wrn0"); err != nil {
			return
		}
		err = netlink.NeighSet(&netlink.Neigh{
			LinkIndex: where.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.ParseIP(at), HardwareAddr: whose.Attrs().HardwareAddr,
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, w *walled, at string) (c net.PacketConn) {
	t.Helper()
	var err error
	w.hears.Do(func() { c, err = net.ListenPacket("udp", at) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// say sends a datagram from the host that asks, with a header of destination options (RFC 8200 §4.6) or not.
func say(t *testing.T, w *walled, to string, size int, options bool) {
	t.Helper()
	var c net.Conn
	var err error
	w.asks.Do(func() { c, err = net.Dial("udp", to) })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if options {
		raw, err := c.(*net.UDPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var failed error
		err = raw.Control(func(fd uintptr) {
			const padding = "\x00\x00\x01\x04\x00\x00\x00\x00"
			failed = unix.SetsockoptString(int(fd), unix.IPPROTO_IPV6, unix.IPV6_DSTOPTS, padding)
		})
		if err != nil || failed != nil {
			t.Fatal(err, failed)
		}
	}
	if _, err := fmt.Fprint(c, strings.Repeat("o", size)); err != nil {
		t.Fatal(err)
	}
}
