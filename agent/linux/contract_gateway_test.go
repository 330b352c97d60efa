package linux

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/warren-mesh/warren/peers"
)

// gatewayOf is the plan of a gateway of a site with networks.
func gatewayOf(networks ...peers.SitePrefix) peers.Plan {
	p := planFor(1)
	p.Self.ID, p.Self.Site = "self", "warehouse"
	site := peers.PlanSite{Name: "warehouse", Gateways: []peers.HostID{"self"}, Networks: networks}
	for _, n := range networks {
		site.Prefixes = append(site.Prefixes, n.Known())
	}
	p.Sites = []peers.PlanSite{site}
	return p
}

func lanOf(prefix string) peers.SitePrefix {
	return peers.SitePrefix{Prefix: netip.MustParsePrefix(prefix)}
}

// forwarding is what a host says of the forwarding of a link.
func (s subject) forwarding(t *testing.T, link string) peers.Forwarding {
	t.Helper()
	state := s.observe(t)
	if state.Forward6 != peers.Forward6Each {
		t.Skip("this kernel forwards IPv6 on all links or on none")
	}
	i := slices.IndexFunc(state.Forwarding, func(f peers.Forwarding) bool { return f.Link == link })
	if i < 0 {
		t.Fatalf("nothing is known of %s: %+v", link, state.Forwarding)
	}
	return state.Forwarding[i]
}

// testGateway: a host forwards between its LAN and the mesh while it is a gateway, and leaves what others have set.
func testGateway(t *testing.T, s subject) {
	s.connect(netip.MustParsePrefix("10.20.0.2/24"))
	was := s.forwarding(t, "lan")
	if was.Ours4 || was.Ours6 || was.IPv4 || was.IPv6 {
		t.Skipf("this network is set up otherwise: %+v", was)
	}
	four, both := gatewayOf(lanOf("10.20.0.0/24")), gatewayOf(lanOf("10.20.0.0/24"), lanOf("fd20::/64"))
	reach := func(plan peers.Plan, link string, want peers.Forwarding) {
		t.Helper()
		s.apply(t, peers.Diff(s.observe(t), plan)...)
		if left := peers.Diff(s.observe(t), plan); len(left) > 0 {
			t.Fatalf("left to do: %v", left)
		}
		want.Link = link
		if got := s.forwarding(t, link); got != want {
			t.Fatalf("%s: %+v, want %+v", link, got, want)
		}
	}
	reach(four, "lan", peers.Forwarding{IPv4: true, Ours4: true})
	reach(four, "wrn0", peers.Forwarding{IPv4: true, Ours4: true})
	// The LAN has no IPv6 here, so nothing of it comes in there.
	reach(both, "lan", peers.Forwarding{IPv4: true, Ours4: true})
	reach(both, "wrn0", peers.Forwarding{IPv4: true, Ours4: true, IPv6: true, Ours6: true})
	s.forward("lan", false)
	reach(four, "lan", peers.Forwarding{IPv4: true, Ours4: true})
	reach(planFor(1), "lan", peers.Forwarding{})
	reach(planFor(1), "wrn0", peers.Forwarding{})
	reach(both, "lan", peers.Forwarding{IPv4: true, Ours4: true})
	s.apply(t, peers.Diff(s.observe(t), peers.Plan{})...)
	if got := s.forwarding(t, "lan"); got != was {
		t.Errorf("a plan of nothing leaves %+v, it was %+v", got, was)
	}
	s.forward("lan", true) // by somebody else
	reach(both, "lan", peers.Forwarding{IPv4: true, IPv6: true})
	reach(planFor(1), "lan", peers.Forwarding{IPv4: true, IPv6: true})
}
