package linux

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/warren-mesh/warren/peers"
)

// TestLargeMesh: what was set for 2,000 peers with eight prefixes each is there, all of it, and one changed
// peer is one message.
func TestLargeMesh(t *testing.T) {
	k := newKernel(t)
	s := subject{kernel: k}
	plan := largePlan()
	s.apply(t, peers.Diff(s.observe(t), plan)...)
	if steps := peers.Diff(s.observe(t), plan); len(steps) != 0 {
		t.Fatalf("%d steps are left, the first: %v", len(steps), steps[0])
	}
	if n := len(s.link(t, "wrn0").Peers); n != manyPeers {
		t.Errorf("%d peers, want %d", n, manyPeers)
	}
	plan.PSKs[2]["host1234"] = *preshared("another")
	steps := peers.Diff(s.observe(t), plan)
	before := k.Writes()
	s.apply(t, steps...)
	if n := k.Writes() - before; n != 1 || len(steps) != 1 {
		t.Errorf("one changed peer took %d messages for %v", n, steps)
	}
	if steps := peers.Diff(s.observe(t), plan); len(steps) != 0 {
		t.Errorf("after the change %d steps are left, the first: %v", len(steps), steps[0])
	}
}

// BenchmarkApplyPlain is the reference for BenchmarkApply: the same interface made as wg(8) and ip(8) make it, one
// configuration with all peers and one request for each route.
func BenchmarkApplyPlain(b *testing.B) {
	k := newKernel(b)
	steps := peers.Diff(peers.State{IPv6: true}, largePlan())
	var link, routes []peers.Step
	var all []wgtypes.PeerConfig
	for _, s := range steps {
		switch s.(type) {
		case peers.SetPeer:
			all = append(all, pieces(s)...)
		case peers.SetRoute:
			routes = append(routes, s)
		default:
			link = append(link, s)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := k.Apply(b.Context(), link); err != nil {
			b.Fatal(err)
		}
		if err := k.wg.ConfigureDevice("wrn0", wgtypes.Config{Peers: all}); err != nil {
			b.Fatal(err)
		}
		plainRoutes(b, k, routes)
		b.StopTimer()
		deleteLinks(b)
		awaitSockets(b)
		b.StartTimer()
	}
}

func plainRoutes(b *testing.B, k *Kernel, steps []peers.Step) {
	b.Helper()
	index := map[string]int{}
	for _, s := range steps {
		set, ok := s.(peers.SetRoute)
		if !ok {
			b.Fatalf("%T among routes", s)
		}
		r := routeTo(set.Route)
		if name := set.Route.Link; name != "" && index[name] == 0 {
			there, err := netlink.LinkByName(name)
			if err != nil {
				b.Fatal(err)
			}
			index[name] = there.Attrs().Index
		}
		r.LinkIndex = index[set.Route.Link]
		if err := k.rt.RouteReplace(r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkApplyPeers and BenchmarkApplyRoutes are the two parts of BenchmarkApply.
func BenchmarkApplyPeers(b *testing.B) { benchmarkPart(b, aboutPeer) }

func BenchmarkApplyRoutes(b *testing.B) { benchmarkPart(b, aboutRoute) }

func benchmarkPart(b *testing.B, of kind) {
	b.Helper()
	k := newKernel(b)
	steps := peers.Diff(peers.State{IPv6: true}, largePlan())
	var part, link []peers.Step
	for _, s := range steps {
		if kindOf(s) == of {
			part = append(part, s)
		} else if kindOf(s) == alone {
			link = append(link, s)
		}
	}
	for b.Loop() {
		b.StopTimer()
		if err := k.Apply(b.Context(), link); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := k.Apply(b.Context(), part); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		deleteLinks(b)
		awaitSockets(b)
		b.StartTimer()
	}
}

// testRoutesRefused has routes refused among others that go to the kernel together with them.
func testRoutesRefused(t *testing.T, s subject) {
	s.up(t, "wrn0", 51820)
	var steps []peers.Step
	var want []string
	for i := range 2*batchRoutes + 10 {
		r := peers.Route{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)}), 32), Link: "wrn0"}
		if i%100 == 50 || i == 2*batchRoutes+9 {
			r.Source = netip.MustParseAddr("10.1.1.1") // this host does not have it
		} else {
			want = append(want, r.String())
		}
		steps = append(steps, peers.SetRoute{Route: r})
	}
	failed, ok := s.kernel.Apply(t.Context(), steps).(interface{ Unwrap() []error })
	if !ok || len(failed.Unwrap()) != 4 {
		t.Errorf("4 routes cannot be, but the failures are: %v", failed)
	}
	s.routed(t, want...)
	// What came before has left nothing behind in the socket.
	s.apply(t, steps[0], steps[1], steps[2])
}
