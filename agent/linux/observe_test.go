package linux

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// TestForeign wants of the routes of others those that claim a network, and no others.
func TestForeign(t *testing.T) {
	k := newKernel(t)
	s := subject{kernel: k}
	addBridge(t, "lan", prefixes("192.168.1.2/24", "2001:db8:1::2/64")...)
	addBridge(t, "docker0", prefixes("172.17.0.1/16")...)
	lan, err := netlink.LinkByName("lan")
	if err != nil {
		t.Fatal(err)
	}
	gateway := func(text string) net.IP { return netip.MustParseAddr(text).AsSlice() }
	for _, r := range []netlink.Route{
		{Dst: dst("0.0.0.0/0"), Gw: gateway("192.168.1.1")},
		{Dst: dst("0.0.0.0/1"), Gw: gateway("192.168.1.1")},
		{Dst: dst("128.0.0.0/1"), Gw: gateway("192.168.1.1")},
		{Dst: dst("::/0"), Gw: gateway("2001:db8:1::1")},
		{Dst: dst("2000::/3"), Gw: gateway("2001:db8:1::1")},
		{Dst: dst("224.0.0.0/4"), LinkIndex: lan.Attrs().Index},
		{Dst: dst("169.254.0.0/16"), LinkIndex: lan.Attrs().Index, Scope: netlink.SCOPE_LINK},
		{Dst: dst("10.1.0.0/16"), Gw: gateway("192.168.1.1")},
		{Dst: dst("10.2.0.0/16"), Type: unix.RTN_BLACKHOLE},
		{Dst: dst("2001:db8:2::/64"), Type: unix.RTN_UNREACHABLE},
		{Dst: dst("10.3.0.0/16"), Table: 100, LinkIndex: lan.Attrs().Index, Scope: netlink.SCOPE_LINK},
		{Dst: dst("10.4.0.0/16"), MultiPath: []*netlink.NexthopInfo{
			{LinkIndex: lan.Attrs().Index, Gw: gateway("192.168.1.1")},
			{LinkIndex: lan.Attrs().Index, Gw: gateway("192.168.1.3")},
		}},
		{Dst: dst("10.5.0.0/16"), Protocol: peers.RouteProtocol, LinkIndex: lan.Attrs().Index, Scope: netlink.SCOPE_LINK},
	} {
		if err := netlink.RouteAdd(&r); err != nil {
			t.Fatalf("%v: %v", r, err)
		}
	}
	plan := planFor(1)
	s.apply(t, peers.Diff(peers.State{IPv6: true}, plan)...)
	state := s.observe(t)
	var got []string
	for _, f := range state.Foreign {
		got = append(got, f.Prefix.String()+" "+f.Link)
	}
	same(t, "networks of others", got,
		"192.168.1.0/24 lan", "2001:db8:1::/64 lan", "172.17.0.0/16 docker0", "10.1.0.0/16 lan", "10.2.0.0/16 lo",
		"2001:db8:2::/64 lo", "10.4.0.0/16 lan")
	if steps := peers.Diff(state, plan); len(steps) != 1 {
		t.Errorf("a route with our protocol through somebody else's link: %v", steps)
	}
}

func dst(text string) *net.IPNet { return ipNet(netip.MustParsePrefix(text)) }

// TestRouteBehindOthers replaces and removes our route to a prefix that somebody else routes as well.
func TestRouteBehindOthers(t *testing.T) {
	s := subject{kernel: newKernel(t)}
	addBridge(t, "lan", prefixes("192.168.1.2/24", "2001:db8:1::2/64")...)
	lan, err := netlink.LinkByName("lan")
	if err != nil {
		t.Fatal(err)
	}
	s.up(t, "wrn0", 51820)
	for _, prefix := range prefixes("10.20.0.0/24", "fd00:20::/64") {
		theirs := &netlink.Route{Dst: ipNet(prefix), LinkIndex: lan.Attrs().Index, Scope: netlink.SCOPE_LINK}
		if err := netlink.RouteAdd(theirs); err != nil {
			t.Fatal(err)
		}
		ours := peers.Route{Prefix: prefix, Link: "wrn0"}
		s.apply(t, peers.SetRoute{Route: ours}, peers.SetRoute{Route: ours})
		through, err := netlink.RouteGet(prefix.Addr().Next().AsSlice())
		if err != nil || through[0].LinkIndex != lan.Attrs().Index {
			t.Errorf("%v leads to %v, %v: the host's own route is the one that counts", prefix, through, err)
		}
		s.apply(t, peers.DelRoute{Route: ours})
	}
	state := s.observe(t)
	if len(state.Routes) != 0 || len(state.Foreign) != 4 {
		t.Errorf("routes of ours %v, of others %v", state.Routes, state.Foreign)
	}
}

// TestIPv6Off looks at hosts that switch IPv6 off, for all links, for new ones, for one of ours.
func TestIPv6Off(t *testing.T) {
	for _, c := range []struct {
		name, setting string
		before        bool // there is a link of ours already
	}{
		{"for all", "all", false},
		{"for new links", "default", false},
		{"for all later", "all", true},
		{"for a link of ours", "wrn0", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := subject{kernel: newKernel(t)}
			plan := planFor(1)
			if c.before {
				s.apply(t, peers.Diff(s.observe(t), plan)...)
			}
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+c.setting+"/disable_ipv6", []byte("1"), 0o600); err != nil {
				t.Skip(err)
			}
			state := s.observe(t)
			if state.IPv6 {
				t.Error("IPv6 counts as available")
			}
			s.apply(t, peers.Diff(state, plan)...)
			if steps := peers.Diff(s.observe(t), plan); len(steps) != 0 {
				t.Errorf("still different: %v", steps)
			}
			if l := s.link(t, "wrn0"); len(l.Addresses) != 1 || !l.Up {
				t.Errorf("without IPv6: %+v", l)
			}
		})
	}
}

// TestObserveSpares: a TUN device of our name at whose socket nobody listens is somebody else's, also where a socket has been
// left behind.
func TestObserveSpares(t *testing.T) {
	k := newKernel(t)
	nettest.NeedTUN(t)
	for name, socket := range map[string]bool{"wrn0": false, "wrn1": true} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		if err := netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TUN}); err != nil {
			t.Fatal(err)
		}
		if !socket {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(socketPath(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socketPath(name), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(socketPath(name)) })
	}
	state, err := k.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"wrn0", "wrn1"} {
		if l, there := state.LinkNamed(name); !there || l.Backend != "" || !errors.Is(k.unread[name], peers.ErrForeign) {
			t.Errorf("%s: %+v, %v", name, l, k.unread[name])
		}
	}
}
