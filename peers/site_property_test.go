package peers_test

import (
	"net/netip"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/peers"
)

// FuzzSites holds what must be true of any inventory with sites, also where hosts choose gateways by themselves and
// have networks of their own. Each input is an inventory.
func FuzzSites(f *testing.F) { f.Fuzz(rapid.MakeFuzz(sitesHold)) }

// TestSitesHold does the same with a few inventories.
func TestSitesHold(t *testing.T) { rapid.Check(t, sitesHold) }

// sixHosts are two in each of three sites.
var sixHosts = sync.OnceValue(func() *peers.Inventory {
	inv := &peers.Inventory{}
	do := func(op peers.Op) {
		next, err := inv.Apply(change(op))
		if err != nil {
			panic(err)
		}
		inv = next
	}
	do(createMesh())
	for i, site := range []string{"shop", "warehouse", "accounting"} {
		do(createToken("t-"+site, site))
		for _, name := range []string{"a", "b", "c", "d", "e", "f"}[2*i : 2*i+2] {
			do(enroll("t-"+site, name))
		}
	}
	return inv
})

func sitesHold(t *rapid.T) {
	inv := sixHosts()
	names := []string{"a", "b", "c", "d", "e", "f"}
	for range rapid.IntRange(1, 6).Draw(t, "changes") {
		var op peers.Op
		i := rapid.IntRange(0, 2).Draw(t, "site")
		switch rapid.IntRange(0, 9).Draw(t, "op") {
		case 0:
			op = peers.SetHostState{ID: idOf(rapid.SampledFrom(names).Draw(t, "host")), State: peers.HostSuspended}
		case 1:
			op = peers.SetPolicy{Policy: peers.Policy{Flows: rapid.SliceOfN(rapid.Custom(someFlow), 0, 3).Draw(t, "flows")}}
		default:
			op = peers.SetSite{
				Name: []string{"shop", "warehouse", "accounting"}[i], Prefixes: somePrefixes(t),
				Gateways: rapid.SliceOfNDistinct(rapid.SampledFrom(names[2*i:2*i+2]), 0, 2, rapid.ID).Draw(t, "gateways"),
			}
		}
		if next, err := inv.Apply(change(op)); err == nil {
			inv = next
		}
	}
	name := rapid.SampledFrom(names).Draw(t, "looks")
	p, err := inv.Plan(idOf(name))
	if err != nil {
		return
	}
	p.Private = peers.PrivateByGen{1: privateOf(name, 1)}
	p.Acting = map[string]peers.HostID{}
	for _, site := range []string{"shop", "warehouse", "accounting"} {
		if rapid.Bool().Draw(t, "somebody acts for "+site) {
			p.Acting[site] = idOf(rapid.SampledFrom(names).Draw(t, "acts"))
		}
	}
	checkSites(t, inv, p)
	k := newKernel()
	for _, n := range rapid.SliceOfNDistinct(rapid.SampledFrom(prefixes("10.20.0.0/24", "10.20.0.128/25", "10.0.0.0/8", "192.168.0.0/16",
		"10.61.0.0/16", "2001:db8:20::/64")), 0, 2, rapid.ID).Draw(t, "own networks") {
		k.foreign = append(k.foreign, peers.Foreign{Prefix: n, Link: "lan0", Connected: true})
	}
	for _, step := range peers.Diff(k.state(), p) {
		if err := k.apply(step); err != nil {
			t.Fatalf("%v: %v", step, err)
		}
	}
	if left := peers.Diff(k.state(), p); len(left) > 0 {
		t.Fatalf("left to do: %v", left)
	}
	checkTunnels(t, k, inv.Sites[p.Self.Site], &p)
}

// checkTunnels: what is at peers overlaps nothing that is at others, and the routes into tunnels are neither to
// networks of the host's own nor to those of its site.
func checkTunnels(t *rapid.T, k *kernel, own *peers.Site, p *peers.Plan) {
	for _, l := range k.links {
		for a, peer := range l.owner {
			for b, other := range l.owner {
				if a != b && a.Overlaps(b) {
					t.Fatalf("%v is at %v and %v at %v", a, peer, b, other)
				}
			}
			if inOwn(own, a) {
				t.Fatalf("%v of the own site is at %v", a, peer)
			}
		}
	}
	for _, r := range k.routes {
		if r.Link == "" {
			continue
		}
		if slices.ContainsFunc(k.foreign, func(f peers.Foreign) bool { return f.Prefix.Overlaps(r.Prefix) }) || inOwn(own, r.Prefix) {
			t.Fatalf("%v beside %v in the site %+v", r, k.foreign, own)
		}
	}
	for link, f := range k.forward {
		if len(p.Forwards()) == 0 {
			t.Fatalf("%s, which is no gateway, forwards on %s: %+v", p.Self.Name, link, f)
		}
	}
}

// inOwn reports whether a prefix is of a site that has gateways.
func inOwn(own *peers.Site, p netip.Prefix) bool {
	return len(own.Gateways) > 0 && slices.ContainsFunc(own.Prefixes, func(n peers.SitePrefix) bool {
		return n.Prefix.Overlaps(p) || n.Known().Overlaps(p)
	})
}
