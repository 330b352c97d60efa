package peers_test

import (
	"encoding/json"
	"testing"

	"github.com/warren-mesh/warren/peers"
)

// everyOp is one operation of each kind.
func everyOp() []peers.Op {
	mtu, port := 1400, uint16(1)
	return []peers.Op{
		createMesh(),
		peers.SetMesh{MTU: &mtu},
		createToken("t", "shop"),
		peers.RevokeToken{ID: "t-shop"},
		enroll("t-shop", "till"),
		peers.UpdateHost{ID: idOf("shop"), Port: &port, Endpoints: []peers.Endpoint{}},
		peers.SetHostState{ID: idOf("shop"), State: peers.HostRevoked},
		peers.RemoveHost{ID: idOf("shop")},
		peers.SetSite{Name: "shop", Prefixes: networks("10.20.0.0/24"), Gateways: []string{"shop"}},
		peers.RemoveSite{Name: "shop"},
		peers.AddAdmin{Name: "anna", Identity: identityOf("anna").Identity()},
		peers.RemoveAdmin{Name: "anna"},
		peers.StartGeneration{Number: 2},
		peers.RetireGeneration{Number: 1},
		peers.HoldGeneration{Number: 2},
		peers.ReleaseGeneration{Number: 2},
		peers.DropGeneration{Number: 2},
		peers.SetSchedule{Schedule: &peers.Schedule{Every: 3600}},
		peers.OrderRekey{ID: idOf("shop")},
		succeed("shop", "shop-2"),
		rekeyMesh("controller", "controller-2"),
		peers.SucceedMesh{To: identityOf("controller-2").Identity()},
		peers.SetPolicy{Policy: ordersPolicy()},
		peers.DrainHost{ID: idOf("shop"), Drain: true},
		peers.LabelHost{ID: idOf("shop"), Set: map[string]string{"role": "till"}, Remove: []string{"old"}},
		peers.Apply{Ops: peers.Ops{peers.SetMesh{MTU: &mtu}, peers.RemoveSite{Name: "shop"}}, Within: 60},
		peers.ConfirmApply{Revision: 7},
		peers.TakeBack{Revision: 7},
	}
}

// TestEveryOp: each kind has a decoder, and comes back from it as it was.
func TestEveryOp(t *testing.T) {
	seen := map[string]bool{}
	for _, op := range everyOp() {
		raw, err := json.Marshal(op)
		if err != nil {
			t.Fatal(err)
		}
		back, err := peers.DecodeOpForTest(op.Kind(), raw)
		if err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(back)
		if err != nil || string(again) != string(raw) || back.Kind() != op.Kind() || seen[op.Kind()] {
			t.Errorf("%s came back as %s, %v", raw, again, err)
		}
		seen[op.Kind()] = true
	}
	if n := peers.KindsForTest(); len(seen) != n {
		t.Errorf("%d of %d kinds were tried", len(seen), n)
	}
}

// FuzzReplay reads entries of any content as what follows on a mesh. Whatever is let in is what was
// written: it has one meaning, and the same again.
func FuzzReplay(f *testing.F) {
	inv := threeSites(f)
	for _, op := range everyOp() {
		base := inv
		if op.Kind() == "mesh.create" {
			base = &peers.Inventory{}
		}
		_, e, err := base.Record(change(op))
		if err != nil { // needs something to be there first; as input it is good enough
			e.At, e.By, e.Kind = epoch, "admin:anna", op.Kind()
			if e.Op, err = json.Marshal(op); err != nil {
				f.Fatal(err)
			}
		}
		raw, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := peers.DecodeEntry(raw)
		if err != nil {
			return
		}
		op, err := peers.DecodeOpForTest(e.Kind, e.Op)
		if err != nil {
			return
		}
		next, made, err := inv.Record(peers.Change{At: e.At, By: e.By, Why: e.Why, Op: op})
		if err != nil {
			return
		}
		encoded, err := json.Marshal(made)
		if err != nil {
			t.Fatal(err)
		}
		back, err := peers.DecodeEntry(encoded)
		if err != nil {
			t.Fatalf("%s does not decode: %v", encoded, err)
		}
		again, err := inv.Replay(back)
		if err != nil || text(again) != text(next) {
			t.Fatalf("%s replays as another change: %v", encoded, err)
		}
	})
}

// FuzzLoad reads an object of any content.
func FuzzLoad(f *testing.F) {
	for _, o := range threeSites(f).Objects() {
		f.Add(o.Key, []byte(o.After))
	}
	f.Fuzz(func(t *testing.T, name string, raw []byte) {
		inv, err := peers.Load(1, peers.Hash{}, map[string]json.RawMessage{name: raw})
		if err != nil {
			return
		}
		for _, o := range inv.Objects() {
			if o.Key != "mesh" && o.Key != name {
				t.Errorf("%s was loaded as %s", name, o.Key)
			}
		}
	})
}

// FuzzPeer reads a record of any content; what it takes comes back the same.
func FuzzPeer(f *testing.F) {
	raw, err := json.Marshal(somePeer(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p, again peers.Peer
		if json.Unmarshal(raw, &p) != nil {
			return
		}
		if string(p.ID) != p.Identity.Fingerprint() {
			t.Errorf("%s has the id %s", p.Name, p.ID)
		}
		first, err := json.Marshal(p)
		if err != nil {
			return // an address that has no text
		}
		if err := json.Unmarshal(first, &again); err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if second, err := json.Marshal(again); err != nil || string(second) != string(first) {
			t.Errorf("%s came back as %s, %v", first, second, err)
		}
	})
}
