package linux

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// TestNeighbours: a host on a link is asked again and again, and answers; when the way to it is cut behind a link that
// stays up, it does not, and nothing else is heard until it is mended. Packets to it are not held up by being asked.
func TestNeighbours(t *testing.T) {
	gateway, far := nettest.NewHost(t), nettest.NewHost(t)
	nettest.Cable(t, gateway, "lan0", far, "eth0")
	gateway.AddressOn("lan0", netip.MustParsePrefix("10.20.0.2/24"), netip.MustParsePrefix("fd20::2/64"))
	far.AddressOn("eth0", netip.MustParsePrefix("10.20.0.9/24"), netip.MustParsePrefix("fd20::9/64"))
	n := &Neighbours{}
	ask := func(a string) (got peers.Answer, err error) {
		gateway.Do(func() { got, err = n.Ask(netip.MustParseAddr(a)) })
		return got, err
	}
	hears := func(a string) {
		t.Helper()
		nettest.Eventually(t, a+" answers", func() bool {
			got, err := ask(a)
			if err != nil {
				t.Fatalf("%s: %v", a, err)
			}
			return got == peers.AnswerHeard
		})
	}
	arp := func(on bool) { // its end of the cable stays up
		far.Do(func() {
			link, err := netlink.LinkByName("eth0")
			if err == nil && on {
				err = netlink.LinkSetARPOn(link)
			} else if err == nil {
				err = netlink.LinkSetARPOff(link)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, a := range []string{"10.20.0.9", "fd20::9"} {
		for range 5 {
			hears(a)
		}
	}
	const a = "10.20.0.9"
	arp(false)
	_, _ = ask(a) // may have been answered before
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for began := time.Now(); time.Since(began) < 4*time.Second; <-again.C { // longer than the kernel believes in it
		if got, err := ask(a); got != peers.AnswerNone || err != nil {
			t.Fatalf("%v after it was cut off: %v, %v", time.Since(began), got, err)
		}
	}
	arp(true)
	hears(a)
}

// TestNeighboursUnasked: addresses of which nothing can be heard.
func TestNeighboursUnasked(t *testing.T) {
	gateway, far := nettest.NewHost(t), nettest.NewHost(t)
	nettest.Cable(t, gateway, "lan0", far, "eth0")
	gateway.AddressOn("lan0", netip.MustParsePrefix("10.20.0.2/24"), netip.MustParsePrefix("fd20::2/64"))
	far.AddressOn("eth0", netip.MustParsePrefix("10.20.0.9/24"))
	gateway.Do(func() {
		link, err := netlink.LinkByName("lan0")
		if err != nil {
			t.Fatal(err)
		}
		for dst, via := range map[string]string{"0.0.0.0/0": "10.20.0.9", "10.30.0.0/24": "10.20.0.9"} {
			p := netip.MustParsePrefix(dst)
			r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(p), Gw: netip.MustParseAddr(via).AsSlice()}
			if err := netlink.RouteAdd(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := netlink.RouteAdd(&netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: ipNet(netip.MustParsePrefix("10.40.0.0/24")), Protocol: peers.RouteProtocol,
		}); err != nil {
			t.Fatal(err)
		}
		hw := link.Attrs().HardwareAddr
		if err := netlink.NeighSet(&netlink.Neigh{
			LinkIndex: link.Attrs().Index, IP: netip.MustParseAddr("10.20.0.8").AsSlice(), HardwareAddr: hw, State: unix.NUD_PERMANENT,
		}); err != nil {
			t.Fatal(err)
		}
	})
	n := &Neighbours{}
	nettest.Eventually(t, "the link has its address", func() (own bool) { // with its carrier
		gateway.Do(func() {
			_, err := n.Ask(netip.MustParseAddr("fd20::2"))
			own = errors.Is(err, errOwn)
		})
		return own
	})
	for _, c := range []struct {
		address string
		want    peers.Answer
		why     error
	}{
		{"10.20.0.2", peers.AnswerUnknown, errOwn},
		{"fd20::2", peers.AnswerUnknown, errOwn}, // see above
		{"10.20.0.8", peers.AnswerUnknown, errStatic},
		{"192.0.2.1", peers.AnswerNone, errNoWay}, // by the default route
		{"10.40.0.1", peers.AnswerNone, errNoWay}, // by a tunnel
		{"fd99::1", peers.AnswerNone, errNoWay},
		{"10.20.0.77", peers.AnswerNone, nil}, // nobody
	} {
		gateway.Do(func() {
			for range 3 {
				if got, err := n.Ask(netip.MustParseAddr(c.address)); got != c.want || !errors.Is(err, c.why) {
					t.Errorf("%s: %v, %v", c.address, got, err)
				}
			}
		})
	}
	nettest.Eventually(t, "the router before 10.30.0.0/24 answers", func() bool {
		var got peers.Answer
		gateway.Do(func() { got, _ = n.Ask(netip.MustParseAddr("10.30.0.7")) })
		return got == peers.AnswerHeard
	})
}
