package peers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/peers"
)

// TestTell is the log of a small mesh, as people read it.
func TestTell(t *testing.T) {
	mtu, keepalive, port := 1380, 20, uint16(51900)
	waits := createToken("t-w", "shop")
	waits.Approve, waits.Uses, waits.Name = true, 1, "till"
	moved := []peers.Endpoint{observed("198.51.100.9:51820")}
	inv, at, got := &peers.Inventory{}, epoch, []string{}
	for _, op := range []peers.Op{
		createMesh(), createToken("t", "shop"), enroll("t", "shop"), waits, enroll("t-w", "till"),
		peers.SetHostState{ID: idOf("till"), State: peers.HostActive},
		peers.SetMesh{MTU: &mtu, Keepalive: &keepalive},
		peers.SetSite{Name: "shop", Prefixes: networks("10.20.0.0/24"), Gateways: []string{"shop"}},
		peers.SetSite{Name: "attic"},
		peers.RemoveSite{Name: "attic"},
		peers.AddAdmin{Name: "anna", Identity: identityOf("anna").Identity()},
		peers.RemoveAdmin{Name: "anna"},
		peers.UpdateHost{ID: idOf("till"), Port: &port, Endpoints: moved},
		peers.UpdateHost{ID: idOf("till"), Endpoints: []peers.Endpoint{}},
		peers.StartGeneration{Number: 2, Grace: 600},
		peers.UpdateHost{ID: idOf("shop"), Keys: keysOf("shop", 2)},
		peers.UpdateHost{ID: idOf("till"), Keys: keysOf("till", 2)},
		peers.RetireGeneration{Number: 1},
		peers.StartGeneration{Number: 3},
		peers.HoldGeneration{Number: 3},
		peers.ReleaseGeneration{Number: 3},
		peers.HoldGeneration{Number: 3},
		peers.DropGeneration{Number: 3},
		peers.RevokeToken{ID: "t"},
		peers.SetHostState{ID: idOf("till"), State: peers.HostRevoked},
		peers.RemoveHost{ID: idOf("till")},
		peers.SetSchedule{Schedule: &peers.Schedule{Every: 86400, CatchUp: true}},
		peers.SetSchedule{},
		peers.SetPolicy{Policy: policy("* host:shop icmp")},
		peers.LabelHost{ID: idOf("shop"), Set: map[string]string{"role": "till", "floor": "1"}},
		peers.LabelHost{ID: idOf("shop"), Remove: []string{"role", "floor"}},
		peers.Apply{Within: 120, Ops: peers.Ops{
			peers.SetMesh{Grace: &keepalive},
			peers.SetSite{Name: "shop", Prefixes: networks("10.21.0.0/24")},
			peers.LabelHost{ID: idOf("shop"), Set: map[string]string{"role": "till"}},
		}},
		peers.TakeBack{Revision: 32},
		peers.Apply{Within: 120, Ops: peers.Ops{peers.SetSite{Name: "attic"}}},
		peers.ConfirmApply{Revision: 34},
		peers.SetSite{
			Name: "shop", Prefixes: networks("10.21.0.0/24"), Gateways: []string{"shop"}, LANCheck: addrs("10.21.0.8", "10.21.0.9"),
		},
	} {
		at = at.Add(3 * time.Second)
		next, e, err := inv.Record(peers.Change{At: at, By: "admin:anna", Op: op})
		if err != nil {
			t.Fatalf("%s: %v", op.Kind(), err)
		}
		inv, got = next, append(got, e.Tell())
		host, g, ok := e.Announced()
		if announced := ok && g == 2 && (host == "shop" || host == "till"); announced != strings.Contains(e.Tell(), "key of generation 2") {
			t.Errorf("%s: announced %q, %d, %v", e.Tell(), host, g, ok)
		}
	}
	want := []string{
		"mesh orders begins, with the overlay 10.90.0.0/16, fd00:90::/64",
		"token t for site shop, 1000 uses, until 2026-11-24T18:00:00Z",
		"host shop joins site shop as 10.90.0.1 with token t",
		"token t-w for site shop, host till, hosts wait for approval, until 2026-11-24T18:00:00Z",
		"host till joins site shop as 10.90.0.2 with token t-w and waits for approval",
		"host till: pending → active",
		"MTU 1420 → 1380 bytes, keepalive 25 → 20 s",
		"site shop is set: 10.20.0.0/24 behind shop",
		"site attic is made",
		"site attic is gone",
		"admin anna is let in, with the identity " + identityOf("anna").Identity().String(),
		"admin anna is locked out",
		"host till: port 51820 → 51900; reachable at 198.51.100.9:51820",
		"host till: reachable at nowhere",
		"rotation to generation 2 begins, which waits 10m for hosts that are away",
		"host shop: key of generation 2",
		"host till: key of generation 2",
		"generation 1 is retired, its keys are gone; the rotation to generation 2 took 9s",
		"rotation to generation 3 begins",
		"rotation to generation 3 is to be given up: no traffic moves to it any more",
		"rotation to generation 3 is not given up, it goes on",
		"rotation to generation 3 is to be given up: no traffic moves to it any more",
		"rotation to generation 3 is given up before any traffic has moved, its keys are gone",
		"token t is revoked",
		"host till: active → revoked",
		"host till is removed, it was revoked",
		"keys are rotated every 1d, catching up",
		"the schedule of rotations is taken away",
		"the policy is set: 1 flows, 0 tests",
		"host shop has the labels floor=1, role=till",
		"host shop has no labels any more",
		"grace 7d → 20s; site shop is set: 10.21.0.0/24; host shop has the labels role=till; taken back unless confirmed within 2m",
		"the change of revision 32 is taken back: mesh, site/shop, host shop",
		"site attic is made; taken back unless confirmed within 2m",
		"the change of revision 34 is confirmed",
		"site shop is set: 10.21.0.0/24 behind shop; gateways ask 10.21.0.8 and 10.21.0.9 whether their LAN is there",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
}

// TestTellUnknown: what a newer version wrote is told by what it touched, and nothing makes Tell fail.
func TestTellUnknown(t *testing.T) {
	_, e, err := threeSites(t).Record(change(peers.SetHostState{ID: idOf("shop"), State: peers.HostSuspended}))
	if err != nil {
		t.Fatal(err)
	}
	e.Kind = "host.teleport"
	if got := e.Tell(); got != "host.teleport: host shop changed" {
		t.Errorf("told as %q", got)
	}
	if got := (peers.Entry{Kind: "host.update"}).Tell(); got != "host.update" {
		t.Errorf("an empty entry is told as %q", got)
	}
}

// FuzzTell: whatever is in an entry, there are words for it.
func FuzzTell(f *testing.F) {
	f.Add("host.update", []byte(`{"id":"x"}`), []byte(`{"name":"shop"}`), []byte(`null`))
	f.Add("generation.retire", []byte(`{"number":1}`), []byte(`{}`), []byte(`{"generations":[{}]}`))
	f.Fuzz(func(t *testing.T, kind string, op, before, after []byte) {
		for _, key := range []string{"mesh", "host/x", "site/x"} {
			e := peers.Entry{Kind: kind, Op: op, Objects: []peers.ObjectChange{{Key: key, Before: before, After: after}}}
			_ = e.Tell()
			_, _, _ = e.Announced()
		}
	})
}
