package peers_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// thousand is a mesh of 1,000 hosts.
func thousand(b *testing.B) *peers.Inventory {
	b.Helper()
	inv := after(b, &peers.Inventory{}, createMesh(), createToken("t1", "shop"))
	for i := range 1000 {
		inv = after(b, inv, enroll("t1", fmt.Sprintf("host-%d", i)))
	}
	return inv
}

func BenchmarkPlan(b *testing.B) {
	inv := thousand(b)
	id := idOf("host-500")
	for b.Loop() {
		if _, err := inv.Plan(id); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPlanWithPSKs(b *testing.B) {
	inv := thousand(b)
	id := idOf("host-500")
	secrets := map[peers.Generation]key.Secret{1: secretOf(1)}
	for b.Loop() {
		p, err := inv.Plan(id)
		if err != nil {
			b.Fatal(err)
		}
		if p = p.WithPSKs(secrets); len(p.PSKs[1]) != 999 {
			b.Fatal(len(p.PSKs[1]))
		}
	}
}

func BenchmarkPeer(b *testing.B) {
	inv := thousand(b)
	id := idOf("host-500")
	for b.Loop() {
		if _, ok := inv.Peer(id); !ok {
			b.Fatal("no record")
		}
	}
}

func BenchmarkRecordUpdate(b *testing.B) {
	inv := thousand(b)
	port := uint16(4444)
	c := change(peers.UpdateHost{ID: idOf("host-500"), Port: &port})
	for b.Loop() {
		if _, _, err := inv.Record(c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecordEnroll(b *testing.B) {
	inv := thousand(b)
	inv = after(b, inv, createToken("t2", "shop"))
	c := change(enroll("t2", "newcomer"))
	for b.Loop() {
		if _, _, err := inv.Record(c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReplay(b *testing.B) {
	inv := thousand(b)
	port := uint16(4444)
	_, e, err := inv.Record(change(peers.UpdateHost{ID: idOf("host-500"), Port: &port}))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := inv.Replay(e); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDiff compares a host of 1,000 with what its kernel has after one other host has changed.
func BenchmarkDiff(b *testing.B) {
	inv := thousand(b)
	k := applied(b, planOf(b, inv, "host-500"))
	for i := range 40 { // container bridges and the like
		k.foreign = append(k.foreign, peers.Foreign{
			Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 17, byte(i), 0}), 24), Link: "docker",
		})
	}
	state := k.state()
	inv = after(b, inv, peers.SetHostState{ID: idOf("host-7"), State: peers.HostSuspended})
	p := planOf(b, inv, "host-500")
	for b.Loop() {
		if steps := peers.Diff(state, p); len(steps) != 3 { // two routes and a peer
			b.Fatal(len(steps))
		}
	}
}

func BenchmarkRoam(b *testing.B) {
	inv := thousand(b)
	p := planOf(b, inv, "host-500")
	state := applied(b, p).state()
	attempts := map[peers.AttemptKey]peers.Attempt{}
	now := epoch
	for b.Loop() {
		now = now.Add(time.Second)
		_, attempts = peers.Roam(state, p, attempts, now)
	}
}

func BenchmarkLoad(b *testing.B) {
	inv := thousand(b)
	objects := map[string]json.RawMessage{}
	for _, o := range inv.Objects() {
		objects[o.Key] = o.After
	}
	for b.Loop() {
		if _, err := peers.Load(inv.Revision, inv.Head, objects); err != nil {
			b.Fatal(err)
		}
	}
}
