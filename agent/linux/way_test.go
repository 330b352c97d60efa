package linux

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// addUplink makes a network that is not ours, with a cable plugged in: without one there is no IPv6 route.
func addUplink(t *testing.T, name string, addresses ...netip.Prefix) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "-far"})
	for _, end := range []string{name, name + "-far"} {
		var link netlink.Link
		if err == nil {
			link, err = netlink.LinkByName(end)
		}
		for _, a := range addresses {
			if err == nil && end == name {
				err = netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(a), Flags: unix.IFA_F_NODAD})
			}
		}
		if err == nil {
			err = netlink.LinkSetUp(link)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestWays follows the MTU of the way to an endpoint through what may happen to the routes of a host.
func TestWays(t *testing.T) {
	k := newKernel(t)
	if _, err := k.Watch(t.Context()); err != nil {
		t.Fatal(err)
	}
	addUplink(t, "lan", prefixes("192.0.2.1/24", "2001:db8::1/64")...)
	addUplink(t, "office", prefixes("198.51.100.1/24")...)
	link := func(name string) netlink.Link {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	becomes := func(what, to string, want int) {
		t.Helper()
		nettest.Eventually(t, what, func() bool { return k.ways.to(netip.MustParseAddr(to)) == want })
	}
	becomes("the link's", "192.0.2.9", 1500)
	becomes("the link's, IPv6", "2001:db8::9", 1500)
	becomes("none", "203.0.113.9", 0)
	via := &netlink.Route{Dst: ipNet(netip.MustParsePrefix("0.0.0.0/0")), Gw: netip.MustParseAddr("192.0.2.2").AsSlice()}
	check(netlink.RouteAdd(via))
	becomes("that of a new default route", "203.0.113.9", 1500)
	check(netlink.LinkSetMTU(link("lan"), 1400))
	becomes("that of the link, which has changed", "203.0.113.9", 1400)
	via.MTU = 1380
	check(netlink.RouteReplace(via))
	becomes("that of the route", "203.0.113.9", 1380)
	becomes("not that of the other link", "198.51.100.9", 1500)
	check(netlink.RouteDel(via))
	check(netlink.RouteAdd(&netlink.Route{Dst: via.Dst, Gw: netip.MustParseAddr("198.51.100.2").AsSlice()}))
	becomes("that of another uplink", "203.0.113.9", 1500)

	// What was there last holds while there is none, and a way through a tunnel is none.
	check(netlink.LinkSetMTU(link("office"), 1450))
	becomes("that of the uplink", "203.0.113.9", 1450)
	check(netlink.LinkSetDown(link("office")))
	s := subject{kernel: k}
	s.up(t, "wrn0", 51820)
	s.apply(t, peers.SetRoute{Route: peers.Route{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Link: "wrn0"}})
	changes := k.ways.changes.Load()
	check(netlink.LinkSetMTU(link("lan"), 1390))
	nettest.Eventually(t, "a change is noticed", func() bool { return k.ways.changes.Load() > changes })
	for a, w := range k.ways.known { // as if a minute had passed
		w.at = w.at.Add(-wayKept)
		k.ways.known[a] = w
	}
	if got := k.ways.to(netip.MustParseAddr("203.0.113.9")); got != 1450 {
		t.Errorf("without a route the way has %d, want what it had", got)
	}
	becomes("that of the first link", "192.0.2.9", 1390)
}

// TestWayOfPeers has the way to each peer in what is observed.
func TestWayOfPeers(t *testing.T) {
	k := newKernel(t)
	addUplink(t, "lan", prefixes("192.0.2.1/24", "2001:db8::1/64")...)
	s := subject{kernel: k}
	s.up(t, "wrn0", 51820)
	for seed, endpoint := range map[string]string{"a": "192.0.2.9:1", "b": "[2001:db8::9]:1", "c": "203.0.113.9:1"} {
		s.apply(t, peers.SetPeer{Link: "wrn0", Key: public(seed), New: true, Endpoint: netip.MustParseAddrPort(endpoint)})
	}
	s.apply(t, peers.SetPeer{Link: "wrn0", Key: public("d"), New: true})
	l := s.link(t, "wrn0")
	for seed, want := range map[string]int{"a": 1440, "b": 1420, "c": 0, "d": 0} {
		if p, _ := l.Peer(public(seed)); p.Fits() != want {
			t.Errorf("%s: %d fits, want %d", p.Endpoint, p.Fits(), want)
		}
	}
}
