package controller_test

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/controller"
	"github.com/warren-mesh/warren/controller/api"
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

// TestRekeyController: hosts are told over the connection that is pinned to the old identity, and when all of
// them know the new one it is the only one, also after a restart. The old one is destroyed.
func TestRekeyController(t *testing.T) {
	s := newSite(t)
	shop, erp := s.join("shop"), s.join("erp")
	token := s.token(wire.TokenOrder{})
	st, _ := shop.connect()
	before := s.c.Identity()
	var m wire.MeshView
	s.must(http.MethodPost, wire.PathMeshRekey, wire.MeshRekey{Why: "as every year"}, &m)
	if m.Pin != before.Identity() || m.NextPin == nil || m.NextPin.Known != 0 || len(m.NextPin.Waiting) != 2 {
		t.Fatalf("the admin sees %+v", m)
	}
	next := m.NextPin.Identity
	d := st.expect(wire.DownDelta)
	if heir := d.Plan.Mesh.Heir; heir == nil || heir.To != next || heir.From != before.Identity() || !heir.Verify(m.ID, next) {
		t.Errorf("hosts are told %+v", d.Plan.Mesh)
	}
	if f := s.admin(http.MethodPost, wire.PathMeshRekey, wire.MeshRekey{}, nil); f == nil || f.Code != "rekey-running" {
		t.Errorf("a second one: %+v", f)
	}
	st.say(wire.Up{Kind: wire.UpReport, Report: &wire.Report{Pin: next}})
	eventually(t, "one host knows it", func() bool { return s.c.Mesh().NextPin.Known == 1 })
	other, _ := erp.connect() // over the old identity
	other.say(wire.Up{Kind: wire.UpReport, Report: &wire.Report{Pin: next}})
	eventually(t, "the new identity is used", func() bool { return s.c.Identity().Identity() == next })
	if d := st.expect(wire.DownDelta); d.Plan.Mesh.Pin != next || d.Plan.Mesh.Heir != nil {
		t.Errorf("hosts are told %+v", d.Plan.Mesh)
	}
	erp.reboot() // which pins what the controller is now
	erp.connect()
	if f := s.machine("late").call(http.MethodPost, wire.PathEnrollCheck, wire.EnrollCheck{
		Protocol: wire.Protocol, TokenID: token.ID, Secret: token.Secret[:], Name: "late",
	}, nil); f == nil || f.Code != "token-revoked" {
		t.Errorf("a token with the former identity: %+v", f)
	}
	if made := s.token(wire.TokenOrder{}); made.Pin != next {
		t.Error("a new token names the former identity")
	}
	eventually(t, "the former identity is destroyed", func() bool {
		now, err := s.db.Fetch(t.Context(), "identity")
		_, left := s.db.Fetch(t.Context(), "identity/next")
		return err == nil && errors.Is(left, fs.ErrNotExist) && string(now) != before.Expose()
	})
	s.restart()
	if s.c.Identity().Identity() != next {
		t.Error("the restart brought the former identity back")
	}
	if err := s.c.Alive(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRekeyControllerOverlap: who is away holds nothing up for longer than the overlap, and is named.
func TestRekeyControllerOverlap(t *testing.T) {
	s := newSite(t)
	s.join("shop")
	s.must(http.MethodPost, wire.PathMeshRekey, wire.MeshRekey{Overlap: 1}, nil)
	eventually(t, "the overlap is over", func() bool { return s.c.Mesh().NextPin == nil })
	page, err := s.c.Audit(t.Context(), api.AuditQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if last := page.Entries[len(page.Entries)-1]; !strings.Contains(last.What, "1 hosts have not learnt it") {
		t.Errorf("the log says %q", last.What)
	}
}

// TestRekeyControllerCut: a controller that ends between the ledger and the vault goes on where it was.
func TestRekeyControllerCut(t *testing.T) {
	s := newSite(t)
	s.must(http.MethodPost, wire.PathMeshRekey, wire.MeshRekey{}, nil)
	eventually(t, "with no host nobody is waited for", func() bool { return s.c.Mesh().NextPin == nil })
	s.stop()
	next := s.c.Identity()
	old, err := key.NewIdentityKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.Put(t.Context(), map[string][]byte{
		"identity": []byte(old.Expose()), "identity/next": []byte(next.Expose()),
	}); err != nil {
		t.Fatal(err)
	}
	s.start(s.addr)
	if !s.c.Identity().Equal(next) {
		t.Error("the controller has another identity than the ledger names")
	}
	if raw, err := s.db.Fetch(t.Context(), "identity"); err != nil || string(raw) != next.Expose() {
		t.Errorf("the vault is not put in order: %v", err)
	}
	if err := s.c.Alive(t.Context()); err != nil {
		t.Error(err)
	}
	s.stop()
	if err := s.db.Put(t.Context(), map[string][]byte{"identity": []byte(old.Expose())}); err != nil {
		t.Fatal(err)
	}
	_, err = controller.Open(t.Context(), s.db, s.db, controller.Settings{}, slog.New(slog.DiscardHandler))
	if _, ok := errors.AsType[*controller.StartError](err); !ok {
		t.Errorf("a vault with another identity than the ledger names: %v", err)
	}
}
