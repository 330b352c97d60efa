package peers_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/peers"
)

// TestLeg: each network of the site must be reached by a link that has a carrier.
func TestLeg(t *testing.T) {
	lan, other, six := prefixes("10.20.0.0/24")[0], prefixes("10.21.0.0/24")[0], prefixes("fd20::/64")[0]
	on := func(p netip.Prefix, down bool) peers.Foreign {
		return peers.Foreign{Prefix: p, Link: "lan0", Down: down}
	}
	for name, c := range map[string]struct {
		networks []netip.Prefix
		foreign  []peers.Foreign
		ipv6     bool
		want     peers.Leg
	}{
		"no networks":          {nil, nil, true, peers.LegUnknown},
		"there":                {prefixes("10.20.0.0/24"), []peers.Foreign{on(lan, false)}, true, peers.LegUp},
		"no carrier":           {prefixes("10.20.0.0/24"), []peers.Foreign{on(lan, true)}, true, peers.LegDown},
		"two links, one dead":  {prefixes("10.20.0.0/24"), []peers.Foreign{on(lan, true), on(lan, false)}, true, peers.LegUp},
		"no address":           {prefixes("10.20.0.0/24"), []peers.Foreign{on(other, false)}, true, peers.LegDown},
		"a part of it":         {prefixes("10.20.0.0/16"), []peers.Foreign{on(lan, false)}, true, peers.LegUp},
		"behind a router":      {prefixes("10.20.0.0/24"), []peers.Foreign{on(prefixes("10.0.0.0/8")[0], false)}, true, peers.LegUp},
		"one of two networks":  {prefixes("10.20.0.0/24", "10.21.0.0/24"), []peers.Foreign{on(lan, false)}, true, peers.LegDown},
		"no IPv6 on this host": {prefixes("10.20.0.0/24", "fd20::/64"), []peers.Foreign{on(lan, false)}, false, peers.LegUp},
		"IPv6 is missing":      {prefixes("10.20.0.0/24", "fd20::/64"), []peers.Foreign{on(lan, false)}, true, peers.LegDown},
		"both":                 {prefixes("10.20.0.0/24", "fd20::/64"), []peers.Foreign{on(lan, false), on(six, false)}, true, peers.LegUp},
	} {
		s := peers.State{Foreign: c.foreign, IPv6: c.ipv6}
		if got := s.Leg(c.networks); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestNear: the virtual address of a site is none of the host's own.
func TestNear(t *testing.T) {
	s := peers.State{Local: []peers.Local{
		{Prefix: prefixes("192.0.2.7/24")[0], Link: "eth0"},
		{Prefix: prefixes("10.20.0.1/32")[0], Link: "lan0", Virtual: true},
		{Prefix: prefixes("10.20.0.2/24")[0], Link: "lan0"},
		{Prefix: prefixes("fd20::2/64")[0], Link: "lan0"},
	}}
	four, six := s.Near(prefixes("10.20.0.0/24", "fd20::/64"))
	if four != netip.MustParseAddr("10.20.0.2") || six != netip.MustParseAddr("fd20::2") {
		t.Errorf("%v, %v", four, six)
	}
	for a, want := range map[string]string{"10.20.0.9": "lan0", "192.0.2.1": "eth0", "10.21.0.1": ""} {
		if got := s.LinkTo(netip.MustParseAddr(a)); got != want {
			t.Errorf("to %s by %q, want %q", a, got, want)
		}
	}
}

// TestVirtualAddress: it is set on the link to the LAN, once, and taken away by a plan without it, as by none at all.
func TestVirtualAddress(t *testing.T) {
	p := planOf(t, threeSites(t), "shop")
	s := applied(t, p).state()
	own := peers.Local{Prefix: prefixes("10.20.0.2/24")[0], Link: "lan0"}
	held := peers.Local{Prefix: prefixes("10.20.0.1/32")[0], Link: "lan0", Virtual: true}
	moved := held
	moved.Link = "eth0"
	p.Virtual = netip.MustParseAddr("10.20.0.1")
	own6 := peers.Local{Prefix: prefixes("fd20::2/64")[0], Link: "lan0"}
	held6 := peers.Local{Prefix: prefixes("fd20::1/128")[0], Link: "lan0", Virtual: true}
	both := p
	both.Virtual6 = netip.MustParseAddr("fd20::1")
	for name, c := range map[string]struct {
		local []peers.Local
		plan  peers.Plan
		want  string
	}{
		"to be set":       {[]peers.Local{own}, p, "address add 10.20.0.1/32 dev lan0 label wrn:vip"},
		"there":           {[]peers.Local{own, held}, p, ""},
		"no LAN":          {nil, p, ""},
		"the LAN is gone": {[]peers.Local{held}, p, "address del 10.20.0.1/32 dev lan0 label wrn:vip"},
		"on another link": {
			[]peers.Local{own, moved},
			p,
			"address del 10.20.0.1/32 dev eth0 label wrn:vip\naddress add 10.20.0.1/32 dev lan0 label wrn:vip",
		},
		"no more":             {[]peers.Local{own, held}, planOf(t, threeSites(t), "shop"), "address del 10.20.0.1/32 dev lan0 label wrn:vip"},
		"both":                {[]peers.Local{own, own6}, both, "address add 10.20.0.1/32 dev lan0 label wrn:vip\naddress add fd20::1/128 dev lan0 metric 7828078"},
		"one of two is there": {[]peers.Local{own, own6, held}, both, "address add fd20::1/128 dev lan0 metric 7828078"},
		"IPv6 no more":        {[]peers.Local{own, own6, held, held6}, p, "address del fd20::1/128 dev lan0 metric 7828078"},
	} {
		s.Local = c.local
		if got := lines(peers.Diff(s, c.plan)); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
	s.Local, s.IPv6 = []peers.Local{own, own6, held}, false
	if got := lines(peers.Diff(s, both)); strings.Contains(got, "fd20::1") {
		t.Errorf("a host without IPv6 is to have a virtual address of it: %s", got)
	}
	s.IPv6 = true
	s.Local, s.Doubling = []peers.Local{own, held}, peers.Table{There: true, Digest: "x"}
	all := lines(peers.Diff(s, peers.Plan{}))
	for _, want := range []string{"address del 10.20.0.1/32 dev lan0 label wrn:vip", "nft delete tables ip, ip6 warren-double"} {
		if !slices.Contains(strings.Split(all, "\n"), want) {
			t.Errorf("leaving does not take away %q:\n%s", want, all)
		}
	}
}

// TestDoublingSteps: packets are doubled once, and while the kernel can.
func TestDoublingSteps(t *testing.T) {
	p := planOf(t, threeSites(t), "shop")
	s := applied(t, p).state()
	p.Doubling = peers.Doubling{
		Link: "lan0", From: prefixes("10.20.0.0/24", "fd20::/64"), Near: netip.MustParseAddr("10.20.0.3"), Near6: netip.MustParseAddr("fd20::3"),
	}
	want := "nft replace table ip warren-double: oifname wrn* ip saddr [10.20.0.0/24] dup to 10.20.0.3 device lan0; " +
		"table ip6 warren-double: oifname wrn* ip6 saddr [fd20::/64] dup to fd20::3 device lan0"
	for name, c := range map[string]struct {
		have peers.Table
		want string
	}{
		"nothing":      {peers.Table{}, want},
		"as it is":     {peers.Table{There: true, Digest: p.Doubling.Digest()}, ""},
		"another one":  {peers.Table{There: true, Digest: "x"}, want},
		"changed":      {peers.Table{There: true}, want},
		"no nf_tables": {peers.Table{Fault: "none"}, ""},
	} {
		s.Doubling = c.have
		if got := lines(peers.Diff(s, p)); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
	s.Doubling = peers.Table{There: true, Digest: p.Doubling.Digest()}
	p.Doubling.Held = true
	if got, held := lines(peers.Diff(s, p)), strings.ReplaceAll(want, "device lan0", "device lan0, held for 200ms"); got != held {
		t.Errorf("held:\n%s\nwant\n%s", got, held)
	}
}

// TestDrainRules: a gateway can be drained while another one can take over.
func TestDrainRules(t *testing.T) {
	inv := after(t, threeSites(t), createToken("good", "warehouse"), enroll("good", "lager"))
	refused := func(code string, op peers.Op) {
		t.Helper()
		_, err := inv.Apply(peers.Change{At: inv.Mesh.Created, By: "admin:anna", Op: op})
		var ps peers.Problems
		if !errors.As(err, &ps) || ps[0].Code != code {
			t.Errorf("%+v: %v, want %s", op, err, code)
		}
	}
	refused("drain-useless", peers.DrainHost{ID: idOf("warehouse"), Drain: true})
	inv = after(t, inv, peers.SetSite{Name: "warehouse", Prefixes: networks("10.20.0.0/24"), Gateways: []string{"warehouse"}})
	refused("drain-last", peers.DrainHost{ID: idOf("warehouse"), Drain: true})
	inv = after(t, inv, peers.SetSite{Name: "warehouse", Prefixes: networks("10.20.0.0/24"), Gateways: []string{"warehouse", "lager"}})
	refused("drain-not", peers.DrainHost{ID: idOf("warehouse")})
	inv = after(t, inv, peers.DrainHost{ID: idOf("warehouse"), Drain: true})
	if p := planOf(t, inv, "warehouse"); !p.Self.Draining {
		t.Error("the gateway does not know")
	}
	refused("drain-already", peers.DrainHost{ID: idOf("warehouse"), Drain: true})
	refused("drain-last", peers.DrainHost{ID: idOf("lager"), Drain: true})
	inv = after(t, inv, peers.DrainHost{ID: idOf("warehouse")})
	if p := planOf(t, inv, "warehouse"); p.Self.Draining {
		t.Error("the gateway is drained still")
	}
}

// TestVirtualRules: which virtual addresses a site can have, and who is told.
func TestVirtualRules(t *testing.T) {
	inv := threeSites(t)
	set := func(a string, gateways ...string) peers.SetSite {
		return peers.SetSite{
			Name: "warehouse", Prefixes: networks("10.20.0.0/24"), Gateways: gateways, Virtual: netip.MustParseAddr(a),
		}
	}
	for a, gateways := range map[string][]string{
		"10.21.0.1": {"warehouse"}, "fd20::1": {"warehouse"}, "10.20.0.0": {"warehouse"}, "10.20.0.255": {"warehouse"}, "10.20.0.1": nil,
	} {
		_, err := inv.Apply(peers.Change{At: inv.Mesh.Created, By: "admin:anna", Op: set(a, gateways...)})
		var ps peers.Problems
		if !errors.As(err, &ps) || ps[0].Code != "virtual-ip" {
			t.Errorf("%s with gateways %v: %v", a, gateways, err)
		}
	}
	for a, ok := range map[string]bool{
		"fd20::1": true, "fd20::ffff:ffff:ffff:ffff": true, "fd20::": false, "fd21::1": false, "10.20.0.2": false, "fd20::1%lan0": false,
	} {
		op := set("10.20.0.1", "warehouse")
		op.Prefixes, op.Virtual6 = networks("10.20.0.0/24", "fd20::/64"), netip.MustParseAddr(a)
		_, err := inv.Apply(peers.Change{At: inv.Mesh.Created, By: "admin:anna", Op: op})
		if (err == nil) != ok {
			t.Errorf("%s as the one of IPv6: %v", a, err)
		}
	}
	both := set("10.20.0.1", "warehouse")
	both.Prefixes, both.Virtual6 = networks("10.20.0.0/24", "fd20::/64"), netip.MustParseAddr("fd20::1")
	inv = after(t, inv, both)
	for host, want := range map[string]bool{"warehouse": true, "shop": false} {
		p := planOf(t, inv, host)
		for _, s := range p.Sites {
			if s.Virtual.IsValid() != want || s.Virtual6.IsValid() != want {
				t.Errorf("%s is told of %v, %v", host, s.Virtual, s.Virtual6)
			}
		}
	}
}
