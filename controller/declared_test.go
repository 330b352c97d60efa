package controller_test

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// declare asks for what is declared.
func (s *site) declare(order wire.DeclaredOrder) (r wire.DeclaredResult, f *wire.Fault) {
	s.t.Helper()
	f = s.admin(http.MethodPut, wire.PathDeclared, order, &r)
	return r, f
}

func (s *site) declared() peers.Declared {
	s.t.Helper()
	var v wire.DeclaredView
	s.must(http.MethodGet, wire.PathDeclared, nil, &v)
	return v.Declared
}

func (s *site) mesh() (v wire.MeshView) {
	s.t.Helper()
	s.must(http.MethodGet, wire.PathMesh, nil, &v)
	return v
}

// TestDeclared: what is exported changes nothing; what is changed in it is told, done in one entry, and told in it.
func TestDeclared(t *testing.T) {
	s := newSite(t)
	s.token(wire.TokenOrder{Site: "shop"})
	s.token(wire.TokenOrder{Site: "warehouse"})
	is := s.declared()
	if r, f := s.declare(wire.DeclaredOrder{Declared: is}); f != nil || len(r.Changes) != 0 || r.Revision != s.mesh().Revision {
		t.Fatalf("what is exported changes %+v, %v", r.Changes, f)
	}
	mtu := 1380
	is.Settings.MTU = &mtu
	is.Sites = append(is.Sites, peers.SetSite{Name: "attic", Prefixes: []peers.SitePrefix{{
		Prefix: netip.MustParsePrefix("192.168.1.0/24"), As: netip.MustParsePrefix("10.61.1.0/24"), SNAT: true,
	}}})
	is.Policy = &peers.Policy{Flows: []peers.Flow{}}
	before := s.mesh()
	plan, f := s.declare(wire.DeclaredOrder{Declared: is, DryRun: true})
	if f != nil || len(plan.Changes) != 3 || plan.Applied || s.mesh().Revision != before.Revision {
		t.Fatalf("dry run: %+v, %v", plan, f)
	}
	done, f := s.declare(wire.DeclaredOrder{Declared: is, Expect: plan.Digest, Why: "as agreed"})
	if f != nil || !done.Applied || done.Revision != before.Revision+1 || len(done.Changes) != 3 {
		t.Fatalf("applied: %+v, %v", done, f)
	}
	e := s.lastEntry()
	if e.Kind != "apply" || e.Why != "as agreed" || !strings.Contains(e.Tell(), "MTU 1420 → 1380") {
		t.Errorf("the entry is %s: %s", e.Kind, e.Tell())
	}
	// Half of it is wrong: nothing is done.
	wrong := s.declared()
	wrong.Settings.MTU = new(int)
	*wrong.Settings.MTU = 1400
	wrong.Sites = []peers.SetSite{{Name: "warehouse"}}
	if _, f := s.declare(wire.DeclaredOrder{Declared: wrong}); f == nil || s.mesh().Revision != done.Revision {
		t.Errorf("a site in use is removed: %+v", f)
	}
	// What was shown is what is done, or nothing.
	grace := 3600
	is = s.declared()
	is.Settings.Grace = &grace
	plan, _ = s.declare(wire.DeclaredOrder{Declared: is, DryRun: true})
	s.must(http.MethodPatch, wire.PathMesh, wire.MeshSettings{MTU: &grace}, nil)
	if _, f := s.declare(wire.DeclaredOrder{Declared: is, Expect: plan.Digest}); f == nil || f.Code != "plan-changed" {
		t.Errorf("the mesh has changed since it was shown: %+v", f)
	}
	zone := &peers.Schedule{Every: 86400}
	window, err := peers.ParseWindow("02:00-04:00 Mars/Base")
	if err != nil {
		t.Fatal(err)
	}
	zone.Windows = []peers.Window{window}
	unknown := map[string]any{"declared": map[string]any{"sites": []any{map[string]any{"name": "attic", "moat": true}}}}
	if f := s.admin(http.MethodPut, wire.PathDeclared, unknown, nil); f == nil || !strings.Contains(f.Detail, "moat") {
		t.Errorf("a field of a newer version is taken for nothing: %+v", f)
	}
	nightly := wire.DeclaredOrder{Declared: peers.Declared{Schedule: &peers.Rotations{Schedule: zone}}}
	if _, f := s.declare(nightly); f == nil || f.Code != "schedule-window" {
		t.Errorf("a window in a zone that there is not: %+v", f)
	}
	zone.Windows[0], _ = peers.ParseWindow("02:00-04:00 UTC")
	if r, f := s.declare(nightly); f != nil || len(r.Changes) != 1 {
		t.Errorf("a schedule: %+v, %v", r, f)
	}
}

// TestConfirmWithin: a change that nobody confirms is taken back, also by a controller that was dead when the time
// was over; whoever confirms in time keeps it.
func TestConfirmWithin(t *testing.T) {
	s := &site{t: t, db: newDB(t), log: &logBook{}}
	var ahead atomic.Int64
	s.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	s.begin()
	mtu := 1380
	set := wire.DeclaredOrder{Declared: peers.Declared{Settings: &peers.SetMesh{MTU: &mtu}}, Within: 600}
	if r, f := s.declare(set); f != nil || r.Pending == nil || r.Pending.Left < 590 {
		t.Fatalf("%+v, %v", r, f)
	}
	if m := s.mesh(); m.MTU != 1380 || m.Pending == nil || !slices.Contains(m.Pending.Objects, "mesh") {
		t.Errorf("the mesh is %+v", m)
	}
	other := 1300
	if f := s.admin(http.MethodPatch, wire.PathMesh, wire.MeshSettings{MTU: &other}, nil); f == nil || f.Code != "pending" ||
		!strings.Contains(f.Detail, "unix:tester") {
		t.Errorf("another change of it: %+v", f)
	}
	s.stop()
	ahead.Store(int64(time.Hour))
	s.start(s.addr)
	eventually(t, "it is taken back", func() bool { return s.mesh().Pending == nil })
	if m := s.mesh(); m.MTU != peers.DefaultMTU {
		t.Errorf("MTU %d is left", m.MTU)
	}
	if e := s.lastEntry(); e.By != peers.ByController || !strings.Contains(e.Tell(), "as nobody confirmed it") {
		t.Errorf("the entry is %s by %s", e.Tell(), e.By)
	}
	if f := s.admin(http.MethodPost, wire.PathPending+"/confirm", nil, nil); f == nil || f.Code != "pending-none" {
		t.Errorf("confirmed too late: %+v", f)
	}

	if _, f := s.declare(set); f != nil {
		t.Fatal(f)
	}
	s.must(http.MethodPost, wire.PathPending+"/confirm", nil, nil)
	ahead.Add(int64(time.Hour))
	s.restart()
	if m := s.mesh(); m.MTU != 1380 || m.Pending != nil {
		t.Errorf("what was confirmed is %+v", m)
	}

	policy := wire.PolicyOrder{Policy: peers.Policy{Flows: []peers.Flow{}}, Within: 600}
	s.must(http.MethodPut, wire.PathPolicy, policy, nil)
	s.must(http.MethodPost, wire.PathPending+"/revert", nil, nil)
	var v wire.PolicyView
	s.must(http.MethodGet, wire.PathPolicy, nil, &v)
	if v.Mode != wire.PolicyAllowAll {
		t.Errorf("a first policy that was taken back is still %s", v.Mode)
	}
}

// TestConfirmWithinClock: putting the clock back does not give more time.
func TestConfirmWithinClock(t *testing.T) {
	t.Parallel()
	s := &site{t: t, db: newDB(t), log: &logBook{}}
	var ahead atomic.Int64
	s.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	s.begin()
	mtu := 1380
	if _, f := s.declare(wire.DeclaredOrder{Declared: peers.Declared{Settings: &peers.SetMesh{MTU: &mtu}}, Within: 10}); f != nil {
		t.Fatal(f)
	}
	ahead.Store(-int64(time.Hour))
	within(t, 40*time.Second, "it is taken back", func() bool { return s.mesh().Pending == nil })
	if m := s.mesh(); m.Pending != nil || m.MTU != peers.DefaultMTU {
		t.Errorf("it was not taken back: %+v", m.Pending)
	}
}
