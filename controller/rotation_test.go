package controller_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/controller/ledger"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// A mover is a machine whose stream is open and that can rotate.
type mover struct {
	*machine
	stream *stream
	next   peers.HostKey
	old    bool // does not know how to hold a generation
}

// movers are machines that are connected; whether they know how to retire pairs is given for each.
func movers(t *testing.T, s *site, retires ...bool) []*mover {
	t.Helper()
	var out []*mover
	for i, able := range retires {
		m := &mover{machine: s.join([]string{"shop", "warehouse", "accounting"}[i])}
		private, err := key.NewPrivate(strings.NewReader(strings.Repeat(string(rune('a'+i)), key.Size)))
		if err != nil {
			t.Fatal(err)
		}
		m.next = peers.SignKey(s.c.Inventory().Mesh.ID, m.identity, 2, private.Public())
		m.open(able)
		out = append(out, m)
	}
	return out
}

func (m *mover) open(retires bool) {
	m.s.t.Helper()
	h := m.hello()
	h.Retires, h.Holds = retires, !m.old
	m.stream = m.machine.open(h)
	m.stream.expect(wire.DownSnapshot)
}

// announce reports the key of the next generation.
func (m *mover) announce() {
	m.stream.say(wire.Up{Kind: wire.UpReport, Report: &wire.Report{Keys: []peers.HostKey{m.next}}})
}

// switches reports that the traffic to others takes a generation.
func (m *mover) switches(g peers.Generation, others ...*mover) {
	r := &wire.Report{}
	for _, o := range others {
		r.Peers = append(r.Peers, wire.PeerReport{ID: o.id(), Generation: g, State: wire.PeerUp, Routed: true})
	}
	m.stream.say(wire.Up{Kind: wire.UpReport, Report: r})
}

// hears reads messages until one fits.
func (m *mover) hears(what string, fits func(wire.Down) bool) wire.Down {
	m.s.t.Helper()
	for {
		d, err := m.stream.next()
		if err != nil {
			m.s.t.Fatalf("%s waits for %s: %v", m.name, what, err)
		}
		if fits(d) {
			return d
		}
	}
}

// hearsKeyOf waits for the next key of another one, with the pre-shared key that goes with it.
func (m *mover) hearsKeyOf(o *mover) {
	m.s.t.Helper()
	d := m.hears("the key of "+o.name, func(d wire.Down) bool {
		return slices.ContainsFunc(d.Peers, func(p peers.Peer) bool {
			k, ok := p.Key(2)
			return ok && p.ID == o.id() && k == o.next.Public
		})
	})
	if d.PSKs[1][o.id()] == "" || d.PSKs[2][o.id()] == "" || d.PSKs[1][o.id()] == d.PSKs[2][o.id()] {
		m.s.t.Errorf("pre-shared keys of %s with %s: %v", m.name, o.name, d.PSKs)
	}
}

func (m *mover) hearsRetired(o *mover) {
	m.s.t.Helper()
	m.hears("the end with "+o.name, func(d wire.Down) bool {
		return d.Kind == wire.DownRetire && d.Retire.Generation == 1 && slices.Equal(d.Retire.Peers, []peers.HostID{o.id()})
	})
}

func (s *site) rotation() (v wire.RotationView) {
	s.t.Helper()
	s.must(http.MethodGet, wire.PathRotation, nil, &v)
	return v
}

// TestRotation leads three hosts from one generation to the next: one of them moves late, one is suspended.
func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "warren.db")
	db, err := ledger.Open(path, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := siteOn(t, db)
	all := movers(t, s, true, true, true)
	shop, warehouse := all[0], all[1]
	secret, err := db.Fetch(t.Context(), "generation/1")
	if err != nil || len(secret) == 0 {
		t.Fatalf("the secret of generation 1: %v", err)
	}
	var v wire.RotationView
	s.must(http.MethodPost, wire.PathRotation, wire.RotationOrder{Why: "test"}, &v)
	if v.Generation != 2 || v.Previous == nil || *v.Previous != 1 || v.Phase != peers.PhaseAnnounce || len(v.Waiting) != 3 {
		t.Errorf("a rotation that was just begun: %+v", v)
	}
	if f := s.admin(http.MethodPost, wire.PathRotation, wire.RotationOrder{}, nil); f == nil || f.Code != "rotation-running" {
		t.Errorf("a second one beside it: %+v", f)
	}
	s.act("accounting", wire.ActionSuspend)
	shop.hears("the plan of two generations", func(d wire.Down) bool { return d.Plan != nil && len(d.Plan.Interfaces) == 2 })
	shop.announce()
	warehouse.announce()
	shop.hearsKeyOf(warehouse)
	warehouse.hearsKeyOf(shop)
	eventually(t, "the phase is prove", func() bool { return s.rotation().Phase == peers.PhaseProve })
	shop.switches(2, warehouse)
	eventually(t, "the warehouse is waited for", func() bool {
		w := s.rotation().Waiting
		return len(w) == 1 && w[0].Host == "warehouse" && w[0].Code == peers.WaitAnswer
	})
	shop.stream.say(wire.Up{Kind: wire.UpPong}) // one report is not enough, however long it takes
	if v := s.rotation(); v.Pairs != (wire.RotationPairs{Total: 1}) {
		t.Errorf("after one report of two: %+v", v.Pairs)
	}
	warehouse.switches(2, shop)
	shop.hearsRetired(warehouse)
	warehouse.hearsRetired(shop)
	shop.hears("the end of the older generation", func(d wire.Down) bool { return d.Plan != nil && len(d.Plan.Interfaces) == 1 })
	eventually(t, "the secret is gone", func() bool {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.Fetch(t.Context(), "generation/1")
		return errors.Is(err, fs.ErrNotExist) && !bytes.Contains(raw, secret)
	})
	if err := db.Verify(t.Context()); err != nil {
		t.Errorf("the database without the secret: %v", err)
	}
	if h := s.host("shop"); h.KeySince == nil || !h.KeySince.Equal(v.Started) {
		t.Errorf("the shop has its keys since %v, want %v", h.KeySince, v.Started)
	}
	if end := s.rotation().Last; end == nil || end.Generation != 2 || end.Keys != 2 || end.Cut != 0 || len(end.Behind) != 0 {
		t.Errorf("how it ended: %+v", end)
	}
	last := s.lastEntry()
	if last.Kind != "generation.retire" || last.By != "controller" || !strings.Contains(last.Why, "1 of 1 pairs moved to generation 2") {
		t.Errorf("the end in the ledger: %+v", last)
	}
}

// TestRotationAfterRestart: a restarted controller knows how far the rotation is when the hosts have told it again.
func TestRotationAfterRestart(t *testing.T) {
	s := newSite(t)
	all := movers(t, s, true, true, false)
	for _, m := range all {
		m.stream.close()
	}
	s.must(http.MethodPost, wire.PathRotation, wire.RotationOrder{}, nil)
	s.restart()
	if v := s.rotation(); v.Phase != peers.PhaseAnnounce || v.Generation != 2 {
		t.Errorf("after a restart: %+v", v)
	}
	for i, m := range all {
		m.reboot()
		m.open(i < 2)
		m.announce()
	}
	shop, warehouse, older := all[0], all[1], all[2]
	eventually(t, "all keys are known", func() bool { return s.rotation().Phase == peers.PhaseProve })
	shop.switches(2, warehouse, older)
	warehouse.switches(2, shop)
	older.switches(2, shop)
	shop.hearsRetired(warehouse) // and not with the one that does not know of that
	if v := s.rotation(); v.Pairs != (wire.RotationPairs{Total: 3, Proven: 2, Switched: 2, Retired: 1}) {
		t.Errorf("while one pair is missing: %+v", v.Pairs)
	}
	shop.stream.close()
	shop.open(true)
	shop.hearsRetired(warehouse) // again: it may have been lost
	warehouse.switches(2, older)
	older.switches(2, warehouse)
	older.hears("the end of the older generation", func(d wire.Down) bool {
		if d.Kind == wire.DownRetire {
			t.Error("an agent that does not know the message got it")
		}
		return d.Plan != nil && len(d.Plan.Interfaces) == 1
	})
}

// lastEntry is the newest one of the ledger.
func (s *site) lastEntry() (last peers.Entry) {
	s.t.Helper()
	for e, err := range s.db.Read(s.t.Context(), s.db.Head()-1) {
		if err != nil {
			s.t.Fatal(err)
		}
		last = e
	}
	return last
}
