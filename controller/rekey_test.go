package controller_test

import (
	"crypto/rand"
	"net/http"
	"testing"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// heir makes the next identity of a machine.
func (m *machine) heir() (key.IdentityKey, *wire.Heir) {
	m.s.t.Helper()
	next, err := key.NewIdentityKey(rand.Reader)
	if err != nil {
		m.s.t.Fatal(err)
	}
	mesh := m.s.c.Inventory().Mesh.ID
	return next, &wire.Heir{
		Identity: next.Identity(), Signature: peers.SignHandover(mesh, m.identity, next.Identity()).Signature,
		Keys: []peers.HostKey{peers.SignKey(mesh, next, 1, m.wg.Public())},
	}
}

// TestRekeyHost: an admin asks, the agent hands over, the old identity is shut out at once, and the others
// hear of the new one with the same keys and the same pre-shared key.
func TestRekeyHost(t *testing.T) {
	s := newSite(t)
	shop, erp := s.join("shop"), s.join("erp")
	others, before := erp.connect()
	st, snapshot := shop.connect()
	if snapshot.Plan.Self.Rekey {
		t.Fatal("asked for a new identity by nobody")
	}
	psk := before.PSKs[1][shop.id()]
	if psk == "" {
		t.Fatal("no pre-shared key")
	}
	next, heir := shop.heir()
	st.say(wire.Up{Kind: wire.UpReport, Report: &wire.Report{Heir: heir}})
	st.quiet() // nobody has asked
	if h := s.host("shop"); h.ID != shop.id() {
		t.Fatalf("a host has given itself the identity %s", h.ID)
	}
	s.act("shop", wire.ActionRekey)
	st = shop.open(shop.hello())
	for d := st.expect(wire.DownSnapshot); !d.Plan.Self.Rekey; {
		t.Fatalf("the agent is told %+v", d.Plan.Self)
	}
	if s.host("shop").Rekey == nil {
		t.Error("the admin does not see that it is asked")
	}
	st.say(wire.Up{Kind: wire.UpReport, Report: &wire.Report{Heir: heir}})
	if d := st.expect(wire.DownGoodbye); d.Fault.Code != wire.CodeRekeyed {
		t.Errorf("goodbye %+v", d.Fault)
	}
	shop.reboot()
	if _, f := shop.dial(shop.hello()); f == nil || f.Code != wire.CodeRekeyed {
		t.Errorf("the old identity gets %+v", f)
	}
	old := shop.id()
	shop.identity = next
	shop.reboot()
	if _, d := shop.connect(); d.Plan.Self.ID != shop.id() || d.Plan.Self.Name != "shop" || d.PSKs[1][erp.id()] != psk {
		t.Errorf("the new identity is told %+v, %v", d.Plan.Self, d.PSKs)
	}
	d := others.expect(wire.DownDelta)
	if len(d.Remove) != 1 || d.Remove[0] != old || len(d.Peers) != 1 || d.Peers[0].ID != shop.id() ||
		d.Peers[0].Keys[0].Public != shop.wg.Public() || d.PSKs[1][shop.id()] != psk {
		t.Errorf("the others are told %+v", d)
	}
	if h := s.host("shop"); h.Rekey != nil || len(h.Former) != 1 || string(old) != h.Former[0].Fingerprint() {
		t.Errorf("the admin sees %+v", h)
	}
	if f := s.admin(http.MethodPost, wire.PathHosts+"/shop/"+wire.ActionRekey, nil, nil); f != nil {
		t.Errorf("a second time: %+v", f)
	}
}
