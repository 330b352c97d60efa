package controller_test

import (
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// abort asks to give the rotation up.
func (s *site) abort(dry bool) (v wire.RotationView, f *wire.Fault) {
	s.t.Helper()
	f = s.admin(http.MethodPost, wire.PathRotationAbort, wire.RotationAbort{Why: "test", DryRun: dry}, &v)
	return v, f
}

// holds reports that the plan in which the generation is held is on disk.
func (m *mover) holds() {
	m.s.t.Helper()
	d := m.hears("the plan with the held generation", func(d wire.Down) bool {
		return d.Plan != nil && len(d.Plan.Interfaces) == 2 && d.Plan.Interfaces[1].Held
	})
	m.stream.say(wire.Up{Kind: wire.UpReport, Report: &wire.Report{Holds: d.Plan.Revision}})
}

// begun are two machines in the middle of a rotation, both of which have a new key.
func begun(s *site) (shop, warehouse *mover) {
	s.t.Helper()
	all := movers(s.t, s, true, true)
	s.must(http.MethodPost, wire.PathRotation, wire.RotationOrder{}, nil)
	for _, m := range all {
		m.announce()
	}
	all[0].hearsKeyOf(all[1])
	all[1].hearsKeyOf(all[0])
	return all[0], all[1]
}

// TestAbort gives a rotation up in which no traffic has moved. Nothing of it is left, and its number is not used again.
func TestAbort(t *testing.T) {
	s := newSite(t)
	if _, f := s.abort(false); f == nil || f.Code != "rotation-idle" {
		t.Errorf("while none runs: %+v", f)
	}
	shop, warehouse := begun(s)
	if v, f := s.abort(true); f != nil || v.Held {
		t.Errorf("dry run: %+v, %+v", v, f)
	}
	v, f := s.abort(false)
	if f != nil || !v.Held || len(v.Waiting) != 2 || v.Waiting[0].Code != peers.WaitHold {
		t.Fatalf("just ordered: %+v, %+v", v, f)
	}
	shop.holds()
	eventually(t, "the warehouse alone is waited for", func() bool {
		w := s.rotation().Waiting
		return len(w) == 1 && w[0].Host == "warehouse"
	})
	s.restart() // it keeps nothing of that, and is told again
	if v := s.rotation(); !v.Held || len(v.Waiting) != 2 || v.Waiting[0].Code != peers.WaitOffline {
		t.Errorf("after a restart: %+v", v)
	}
	held := s.c.Inventory().Revision
	for _, m := range []*mover{shop, warehouse} {
		m.reboot()
		m.open(true)
		m.stream.say(wire.Up{Kind: wire.UpReport, Report: &wire.Report{Holds: held}})
	}
	shop.hears("the plan without it", func(d wire.Down) bool { return d.Plan != nil && len(d.Plan.Interfaces) == 1 })
	if v := s.rotation(); v.Phase != peers.PhaseIdle || v.Generation != 1 {
		t.Errorf("afterwards: %+v", v)
	}
	if last := s.lastEntry(); last.Kind != "generation.drop" || !strings.Contains(last.Why, "keep the keys of generation 1") {
		t.Errorf("in the ledger: %+v", last)
	}
	eventually(t, "its secret is gone", func() bool {
		_, err := s.db.Fetch(t.Context(), "generation/2")
		return errors.Is(err, fs.ErrNotExist)
	})
	if _, err := s.db.Fetch(t.Context(), "generation/1"); err != nil {
		t.Errorf("that of the generation in use: %v", err)
	}
	s.must(http.MethodPost, wire.PathRotation, wire.RotationOrder{}, &v)
	if v.Generation != 4 {
		t.Errorf("the next rotation leads to generation %d", v.Generation)
	}
}

// TestAbortMoved: once traffic has moved, a rotation is not given up, whether that is known before or heard of later.
func TestAbortMoved(t *testing.T) {
	t.Run("known", func(t *testing.T) {
		s := newSite(t)
		shop, warehouse := begun(s)
		shop.switches(2, warehouse)
		eventually(t, "it is refused", func() bool {
			_, f := s.abort(true)
			return f != nil && f.Code == "rotation-moved" && strings.Contains(f.Detail, "shop")
		})
		if _, f := s.abort(false); f == nil || s.rotation().Held {
			t.Error("it was held all the same")
		}
	})
	t.Run("later", func(t *testing.T) {
		s := newSite(t)
		shop, warehouse := begun(s)
		if _, f := s.abort(false); f != nil {
			t.Fatal(f)
		}
		shop.holds()
		warehouse.switches(2, shop)
		eventually(t, "it goes on", func() bool { return !s.rotation().Held })
		if last := s.lastEntry(); last.Kind != "generation.release" || !strings.Contains(last.Why, "warehouse") {
			t.Errorf("in the ledger: %+v", last)
		}
		shop.switches(2, warehouse)
		eventually(t, "and ends", func() bool { return s.rotation().Phase == peers.PhaseIdle && s.rotation().Generation == 2 })
	})
	t.Run("an old agent", func(t *testing.T) {
		s := newSite(t)
		shop, _ := begun(s)
		shop.old = true
		shop.stream.close()
		shop.reboot()
		shop.open(true)
		if _, f := s.abort(false); f == nil || f.Code != "agent-old" || !strings.Contains(f.Detail, "shop") {
			t.Errorf("%+v", f)
		}
	})
}
