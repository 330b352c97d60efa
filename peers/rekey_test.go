package peers_test

import (
	"errors"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// rekeyMesh lets the controller hand over, for a day.
func rekeyMesh(from, to string) peers.RekeyMesh {
	next := identityOf(to).Identity()
	return peers.RekeyMesh{
		From: identityOf(from).Identity(), To: next, Until: epoch.Add(24 * time.Hour),
		Signature: peers.SignHandover(meshID, identityOf(from), next).Signature,
	}
}

// TestRekeyMesh: hosts are told of the next identity, and then of nothing but it; tokens that name the former
// one are revoked.
func TestRekeyMesh(t *testing.T) {
	inv := after(t, threeSites(t), createToken("old", "shop"), rekeyMesh("controller", "next"))
	next := identityOf("next").Identity()
	p, err := inv.PlanAlone(idOf("shop"))
	if err != nil || p.Mesh.Heir == nil || p.Mesh.Heir.To != next || !p.Mesh.Heir.Verify(meshID, next) || !p.Mesh.Pin.IsZero() {
		t.Fatalf("during the overlap hosts are told %+v, %v", p.Mesh, err)
	}
	if inv.Tokens["old"].Revoked {
		t.Error("a token is revoked while it is good")
	}
	inv, e, err := inv.Record(change(peers.SucceedMesh{To: next, Behind: []peers.HostID{idOf("warehouse")}}))
	if err != nil {
		t.Fatal(err)
	}
	if p, err = inv.PlanAlone(idOf("shop")); err != nil || p.Mesh.Heir != nil || p.Mesh.Pin != next {
		t.Errorf("after the overlap hosts are told %+v, %v", p.Mesh, err)
	}
	if _, all := e.Hosts(); !all {
		t.Error("the entry concerns not everybody")
	}
	if !inv.Tokens["old"].Revoked {
		t.Error("a token with the former identity is still good")
	}
	want := "the controller's identity is " + next.String() + " from now on; 4 tokens that name the former one are revoked; 1 hosts have not learnt it"
	if got := e.Tell(); got != want {
		t.Errorf("told as %q\nwant %q", got, want)
	}
	after(t, inv, rekeyMesh("next", "third"), peers.SucceedMesh{To: identityOf("third").Identity()})
}

func TestRekeyMeshRefuses(t *testing.T) {
	inv := threeSites(t)
	running := after(t, inv, rekeyMesh("controller", "next"))
	over := after(t, running, peers.SucceedMesh{To: identityOf("next").Identity()})
	edit := func(do func(*peers.RekeyMesh)) peers.RekeyMesh {
		op := rekeyMesh("controller", "next")
		do(&op)
		return op
	}
	for name, c := range map[string]struct {
		inv  *peers.Inventory
		op   peers.Op
		code string
	}{
		"two at a time":     {running, rekeyMesh("controller", "third"), "rekey-running"},
		"of the former one": {over, rekeyMesh("controller", "third"), "pin-other"},
		"signed by another": {inv, edit(func(o *peers.RekeyMesh) { o.Signature[3]++ }), "handover-signature"},
		"that of a host":    {inv, rekeyMesh("controller", "shop"), "identity-taken"},
		"over already":      {inv, edit(func(o *peers.RekeyMesh) { o.Until = epoch }), "expiry-past"},
		"for years":         {inv, edit(func(o *peers.RekeyMesh) { o.Until = epoch.AddDate(1, 0, 0) }), "overlap-long"},
		"without a begin":   {inv, peers.SucceedMesh{To: identityOf("next").Identity()}, "rekey-unordered"},
		"to another one":    {running, peers.SucceedMesh{To: identityOf("third").Identity()}, "rekey-unordered"},
		"behind nobody":     {running, peers.SucceedMesh{To: identityOf("next").Identity(), Behind: []peers.HostID{"x"}}, "host-unknown"},
	} {
		_, err := c.inv.Apply(change(c.op))
		if problems, ok := errors.AsType[peers.Problems](err); !ok || !problems.Has(c.code) {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
}
