package linux

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/peers"
)

// A large mesh: 2,000 peers with eight prefixes each.
const (
	manyPeers    = 2000
	manyPrefixes = 8
)

// largePlan leaves it to the others to start the handshakes: there is nobody to answer, and trying 2,000 peers every
// five seconds would be most of what is measured.
func largePlan() peers.Plan { return planOf(manyPeers, manyPrefixes) }

func planOf(n, prefixes int) peers.Plan {
	p := planFor(n)
	p.Self.Joined = 0
	for i := range p.Peers {
		for j := len(p.Peers[i].Prefixes); j < prefixes; j++ {
			p.Peers[i].Prefixes = append(p.Peers[i].Prefixes,
				netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(100 + j), byte(i >> 8), byte(i)}), 32))
		}
	}
	return p
}

// BenchmarkObserve reads back a large mesh, and the one that agents are measured at rest with.
func BenchmarkObserve(b *testing.B) {
	for _, size := range []struct{ peers, prefixes int }{{500, 2}, {manyPeers, manyPrefixes}} {
		b.Run(fmt.Sprintf("%d peers", size.peers), func(b *testing.B) { benchObserve(b, size.peers, planOf(size.peers, size.prefixes)) })
	}
}

func benchObserve(b *testing.B, n int, plan peers.Plan) {
	k := newKernel(b)
	if err := k.Apply(b.Context(), peers.Diff(peers.State{IPv6: true}, plan)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s, err := k.Observe(b.Context())
		if err != nil || len(s.Links) != 1 || len(s.Links[0].Peers) != n {
			b.Fatal(err, len(s.Links))
		}
	}
	b.StopTimer()
	s, err := k.Observe(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if steps := peers.Diff(s, plan); len(steps) != 0 {
		b.Errorf("%d steps are left", len(steps))
	}
}

// BenchmarkApply gives an interface all its peers and routes, from nothing.
func BenchmarkApply(b *testing.B) {
	k := newKernel(b)
	steps := peers.Diff(peers.State{IPv6: true}, largePlan())
	b.ReportAllocs()
	for b.Loop() {
		if err := k.Apply(b.Context(), steps); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		deleteLinks(b)
		awaitSockets(b)
		b.StartTimer()
	}
}

// BenchmarkApplyOne changes one peer of many.
func BenchmarkApplyOne(b *testing.B) {
	k := newKernel(b)
	if err := k.Apply(b.Context(), peers.Diff(peers.State{IPv6: true}, largePlan())); err != nil {
		b.Fatal(err)
	}
	before := k.Writes()
	keepalive := 20
	for b.Loop() {
		err := k.Apply(b.Context(), []peers.Step{peers.SetPeer{Link: "wrn0", Key: public("host7"), Keepalive: &keepalive}})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(k.Writes()-before)/float64(b.N), "messages/op")
}

// BenchmarkAddLink brings an interface up, to the moment in which it can be used, and reports how much
// memory its process then has.
func BenchmarkAddLink(b *testing.B) {
	k := newKernel(b)
	steps := []peers.Step{
		peers.AddLink{Name: "wrn0", MTU: 1420},
		peers.SetDevice{Link: "wrn0", Private: private("wrn0"), Port: 51820},
		peers.AddAddress{Link: "wrn0", Prefix: netip.MustParsePrefix("10.90.0.1/32")},
		peers.AddAddress{Link: "wrn0", Prefix: netip.MustParsePrefix("fd00:90::1/128")},
		peers.SetLink{Name: "wrn0", Up: true},
	}
	for b.Loop() {
		if err := k.Apply(b.Context(), steps); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if k.Backend() == Userspace {
			b.ReportMetric(resident(b, listenerOf(b, "wrn0")), "MiB-RSS")
		}
		deleteLinks(b)
		awaitSockets(b)
		b.StartTimer()
	}
}

// resident is the memory of a process in MiB.
func resident(t testing.TB, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kib); n == 1 {
			return kib / 1024
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
