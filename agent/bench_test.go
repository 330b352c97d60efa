package agent

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/warren-mesh/warren/agent/linux"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

type deafProber struct{}

func (deafProber) Answer([]netip.Addr, []netip.Addr) {}

func (deafProber) Nudge(netip.Addr) {}

func (deafProber) Ask(netip.Addr) (peers.Answer, error) { return peers.AnswerUnknown, nil }

func (deafProber) Speak(func(netip.Addr, peers.HostID) peers.Word) {}

func (deafProber) Watch(context.Context, netip.Addr, netip.Addr, func(peers.Word, bool)) func(peers.HostID) {
	return func(peers.HostID) {}
}

func (deafProber) Ping(context.Context, netip.Addr, int, int, func(wire.PingReply)) (wire.PingSummary, error) {
	return wire.PingSummary{}, nil
}

// benchPlan is a plan with so many peers, all signed.
func benchPlan(b *testing.B, n int) peers.Plan {
	b.Helper()
	p := peers.Plan{
		Revision: 1,
		Mesh: peers.PlanMesh{
			ID: "m", Name: "orders", Overlay: netip.MustParsePrefix("10.90.0.0/16"),
			Overlay6: netip.MustParsePrefix("fd00::/64"), Keepalive: 25,
		},
		Self:       peers.Self{ID: "self", Name: "self", Address: netip.MustParseAddr("10.90.255.1"), Address6: netip.MustParseAddr("fd00::ffff"), Joined: 1 << 40},
		Interfaces: []peers.Interface{{Generation: 1, Name: "wrn1", Port: 51821, MTU: 1420}},
		PSKs:       peers.PSKs{},
	}
	for i := range n {
		id, err := key.NewIdentityKey(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		private, err := key.NewPrivate(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		a4 := netip.AddrFrom4([4]byte{10, 90, byte(i >> 8), byte(i)})
		a6 := netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(i >> 8), 15: byte(i)})
		host := peers.HostID(id.Identity().Fingerprint())
		p.Peers = append(p.Peers, peers.Peer{
			ID: host, Name: fmt.Sprintf("host%d", i), Site: "shop", Identity: id.Identity(), Joined: 1,
			Prefixes:  []netip.Prefix{netip.PrefixFrom(a4, 32), netip.PrefixFrom(a6, 128)},
			Keys:      []peers.HostKey{peers.SignKey("m", id, 1, private.Public())},
			Endpoints: []peers.Endpoint{{Kind: peers.EndpointObserved, Address: netip.MustParseAddrPort("198.51.100.1:51820")}},
		})
		psk, err := key.ParsePreshared(private.Expose())
		if err != nil {
			b.Fatal(err)
		}
		p.PSKs.Put(1, host, psk)
	}
	return p
}

func benchLoop(b *testing.B, p peers.Plan) *loop {
	b.Helper()
	files, err := store.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = files.Close() })
	a := New(Config{
		Kernel: linux.NewFake(), Store: files, Prober: deafProber{}, Watcher: deafProber{}, Neighbours: deafProber{}, Log: slog.New(slog.DiscardHandler), Port: 51820,
		Addresses: func() ([]netip.Addr, error) { return nil, nil },
	})
	l := &loop{Config: a.cfg, agent: a, trouble: trouble{}, saver: newSaver(files)}
	l.scout = newScout(l.Watcher, l.Neighbours, l.Log)
	l.me.keys = peers.PrivateByGen{}
	l.me.member = &store.Membership{Mesh: "m"}
	l.adopt(p, peers.Hash{}, true)
	l.turn(b.Context(), byPlan)
	for i := range p.Peers {
		k, _ := p.Peers[i].Key(1)
		if err := l.Kernel.(*linux.Fake).Handshake("wrn1", k, netip.AddrPort{}, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
	l.turn(b.Context(), byTime)
	return l
}

// BenchmarkIdleTurn is what an agent at rest does every five seconds, without the kernel's part.
func BenchmarkIdleTurn(b *testing.B) {
	for _, n := range []int{10, 500, 1000} {
		b.Run(fmt.Sprintf("%d peers", n), func(b *testing.B) {
			l := benchLoop(b, benchPlan(b, n))
			steps := l.Kernel.(*linux.Fake).Steps()
			b.ReportAllocs()
			for b.Loop() {
				l.turn(b.Context(), byTime)
			}
			if got := l.Kernel.(*linux.Fake).Steps(); got != steps {
				b.Errorf("took %d steps", got-steps)
			}
		})
	}
}

// BenchmarkOneNewPeer is what one more host costs an agent that has a thousand peers, without the kernel's part.
func BenchmarkOneNewPeer(b *testing.B) {
	p := benchPlan(b, 1001)
	less := p
	less.Peers = p.Peers[:1000]
	l := benchLoop(b, less)
	b.ReportAllocs()
	for b.Loop() {
		l.adopt(p, peers.Hash{1}, true)
		l.turn(b.Context(), byPlan)
		b.StopTimer()
		l.adopt(less, peers.Hash{2}, true)
		l.turn(b.Context(), byPlan)
		b.StartTimer()
	}
}

// BenchmarkHeld is the memory that a plan of a thousand peers keeps.
func BenchmarkHeld(b *testing.B) {
	p := benchPlan(b, 1000)
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		l := benchLoop(b, p)
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(l)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1000, "B/peer")
}
