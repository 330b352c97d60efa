package peers_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// full gives the plans of hosts that all know each other, while a generation follows on another.
func full(n int, g peers.Generation) (all []*peers.Plan) {
	var hosts []peers.Peer
	for i := range n {
		hosts = append(hosts, peers.Peer{ID: peers.HostID(fmt.Sprintf("host%d", i))})
	}
	slices.SortFunc(hosts, peers.ComparePeers)
	for i := range hosts {
		all = append(all, &peers.Plan{
			Self: peers.Self{ID: hosts[i].ID}, Peers: slices.Delete(slices.Clone(hosts), i, i+1),
			Interfaces: []peers.Interface{{Generation: g - 1}, {Generation: g}},
		})
	}
	return all
}

// TestBuildAfter: each host has its own moment, which never changes, and they are apart from each other.
func TestBuildAfter(t *testing.T) {
	for n, c := range map[int]struct{ most, apart time.Duration }{
		1:    {0, 0},
		2:    {300 * time.Millisecond, 75 * time.Millisecond},
		10:   {2700 * time.Millisecond, 135 * time.Millisecond},
		1000: {3 * time.Second, 1500 * time.Microsecond},
	} {
		for g := peers.Generation(2); g < 4; g++ {
			var at []time.Duration
			for _, p := range full(n, g) {
				at = append(at, p.BuildAfter())
				if again := p.BuildAfter(); again != at[len(at)-1] {
					t.Errorf("a host begins after %v, and after %v", at[len(at)-1], again)
				}
			}
			slices.Sort(at)
			if at[0] < 0 || at[n-1] > c.most {
				t.Errorf("%d hosts begin from %v to %v", n, at[0], at[n-1])
			}
			for i := range n - 1 {
				if at[i+1]-at[i] < c.apart {
					t.Errorf("%d hosts, generation %d: two of them begin at %v and %v", n, g, at[i], at[i+1])
				}
			}
		}
	}
	first := func(g peers.Generation) peers.HostID {
		return slices.MinFunc(full(10, g), func(a, b *peers.Plan) int { return int(a.BuildAfter() - b.BuildAfter()) }).Self.ID
	}
	if first(2) == first(3) {
		t.Error("the same host is the first in each rotation")
	}
	quiet := full(10, 2)[3]
	quiet.Interfaces = quiet.Interfaces[1:]
	if quiet.BuildAfter() != 0 {
		t.Error("a host waits for nothing")
	}
}

// TestCanWait: what a rotation brings may wait until it is the host's turn, and nothing else.
func TestCanWait(t *testing.T) {
	inv := after(t, &peers.Inventory{}, createMesh(), createToken("t", "shop"), enroll("t", "warehouse"), enroll("t", "shop"), enroll("t", "office"))
	plan := func(ops ...peers.Op) peers.Plan {
		inv = after(t, inv, ops...)
		p := planOf(t, inv, "shop")
		p.Private = nil // no controller sends any
		return p
	}
	announce := func(name string) peers.Op {
		return peers.UpdateHost{ID: idOf(name), Keys: keysOf(name, 1, 2)}
	}
	calm := plan()
	begun := plan(peers.StartGeneration{Number: 2})
	some := plan(announce("warehouse"))
	own := plan(announce("shop"))
	all := plan(announce("office"))
	retired := all.Retire(1, idOf("office"))
	held := plan(peers.HoldGeneration{Number: 2})
	gone := after(t, inv, peers.SetHostState{ID: idOf("office"), State: peers.HostSuspended})
	without := planOf(t, gone, "shop")
	without.Private = nil
	over := plan(peers.ReleaseGeneration{Number: 2}, peers.RetireGeneration{Number: 1})
	another := plan(peers.StartGeneration{Number: 3})
	psk := func(p peers.Plan, g peers.Generation, b byte) peers.Plan {
		p.PSKs = peers.PSKs{}
		p.PSKs.Put(g, idOf("office"), key.PresharedFromBytes([key.Size]byte{b}))
		return p
	}
	moved := all
	moved.Interfaces = slices.Clone(all.Interfaces)
	moved.Interfaces[1].MTU--
	for _, c := range []struct {
		what    string
		was, is peers.Plan
		want    bool
	}{
		{"a rotation begins", calm, begun, true},
		{"another host has a key", begun, some, true},
		{"the own key is known", some, own, true},
		{"several have keys", begun, all, true},
		{"a pair is over", all, retired, true},
		{"all of it is over", retired, over, true},
		{"the next pre-shared keys come", psk(all, 2, 1), psk(all, 2, 2), true},
		{"pre-shared keys in use change", psk(all, 1, 1), psk(all, 1, 2), false},
		{"the next generation is held", all, held, false},
		{"the next generation is free again", held, all, false},
		{"the next interface is narrower", all, moved, false},
		{"a host is gone", held, without, false},
		{"nothing, without a rotation", calm, calm, false},
		{"all of it is over, and another host is gone", without, over, false},
		{"it is over, and the next rotation has begun", all, another, false},
		{"a rotation was missed", calm, over, false},
	} {
		if got := peers.CanWait(&c.was, &c.is); got != c.want {
			t.Errorf("%s: it may wait: %v, want %v", c.what, got, c.want)
		}
	}
}
