package peers_test

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/peers"
)

// TestDefaultRouteIsNobodys: a mesh that announces a default route, or its halves, gets none, on any host.
func TestDefaultRouteIsNobodys(t *testing.T) {
	p := planOf(t, threeSites(t), "shop")
	all := prefixes("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "2000::/3")
	p.Peers[0].Prefixes = append(slices.Clone(p.Peers[0].Prefixes), all...)
	for _, step := range peers.Diff(peers.State{IPv6: true}, p) {
		if r, ok := step.(peers.SetRoute); ok && slices.Contains(all, r.Route.Prefix) {
			t.Errorf("%v", step)
		}
	}
	var told []string
	for _, problem := range peers.Conflicts(p, nil) {
		told = append(told, problem.At)
	}
	if len(told) != len(all) {
		t.Errorf("told of %q", told)
	}
}

// TestOwnNetworksWin: whatever networks a host has, the mesh takes nothing in them, and takes all the rest.
func TestOwnNetworksWin(t *testing.T) {
	base := planOf(t, threeSites(t), "shop")
	rapid.Check(t, func(t *rapid.T) {
		behind := rapid.Custom(func(t *rapid.T) netip.Prefix { // as a site may have it, or a default route
			a := netip.AddrFrom4([4]byte{10, 20, 0, rapid.Byte().Draw(t, "d")})
			return netip.PrefixFrom(a, rapid.SampledFrom([]int{0, 1, 16, 24, 25, 31, 32}).Draw(t, "bits")).Masked()
		})
		near := rapid.Custom(func(t *rapid.T) netip.Prefix {
			a := netip.AddrFrom4([4]byte{10, rapid.SampledFrom([]byte{20, 90}).Draw(t, "b"), 0, rapid.Byte().Draw(t, "d")})
			return netip.PrefixFrom(a, rapid.IntRange(0, 32).Draw(t, "bits")).Masked()
		})
		p := base
		p.Peers = slices.Clone(base.Peers)
		p.Peers[0].Prefixes = append(slices.Clone(p.Peers[0].Prefixes), rapid.SliceOfNDistinct(behind, 0, 3, rapid.ID).Draw(t, "behind a peer")...)
		k := newKernel()
		for _, f := range rapid.SliceOfN(near, 0, 3).Draw(t, "the host's own") {
			k.foreign = append(k.foreign, peers.Foreign{Prefix: f, Link: "lan"})
		}
		for range 2 { // what was taken while it was free is given back
			for _, step := range peers.Diff(k.state(), p) {
				if err := k.apply(step); err != nil {
					t.Fatalf("%v: %v", step, err)
				}
			}
			if left := peers.Diff(k.state(), p); len(left) > 0 {
				t.Fatalf("left to do:\n%s", lines(left))
			}
			checkOwn(t, k, p)
			k.foreign = append(k.foreign, peers.Foreign{Prefix: near.Draw(t, "comes later"), Link: "lan2"})
		}
	})
}

func checkOwn(t *rapid.T, k *kernel, p peers.Plan) {
	t.Helper()
	taken := func(prefix netip.Prefix) bool {
		return slices.ContainsFunc(k.foreign, func(f peers.Foreign) bool { return f.Prefix.Bits() > 1 && f.Prefix.Overlaps(prefix) })
	}
	for prefix, r := range k.routes {
		if r.Link != "" && (taken(prefix) || prefix.Bits() <= 1) {
			t.Fatalf("%v beside %v", r, k.foreign)
		}
	}
	own := netip.PrefixFrom(p.Self.Address, 32)
	if has := k.links["wrn1"].addresses[own]; has == taken(own) {
		t.Fatalf("has its address: %v, beside %v", has, k.foreign)
	}
	for _, peer := range p.Peers {
		for _, prefix := range peer.Prefixes {
			_, routed := k.routes[prefix]
			free := !taken(prefix) && !taken(own) && prefix.Bits() > 1
			if prefix.Addr().Is4() && routed != free {
				t.Fatalf("%v is routed: %v, beside %v; told: %v", prefix, routed, k.foreign, peers.Conflicts(p, k.foreign))
			}
		}
	}
}
