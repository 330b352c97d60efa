package peers_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/peers"
)

// someApply draws several operations as one, often to be confirmed.
func (w *world) someApply(t *rapid.T, host, site string) peers.Op {
	mtu := rapid.IntRange(1280, 1500).Draw(t, "mtu")
	some := []peers.Op{
		peers.SetSite{Name: site, Prefixes: somePrefixes(t)},
		peers.LabelHost{ID: idOf(host), Set: map[string]string{"role": "till"}},
		peers.SetMesh{MTU: &mtu},
		peers.SetPolicy{Policy: peers.Policy{Flows: rapid.SliceOfN(rapid.Custom(someFlow), 0, 4).Draw(t, "flows")}},
		peers.RemoveSite{Name: site},
		peers.SetSite{Name: "attic", Prefixes: somePrefixes(t)},
	}
	return peers.Apply{
		Ops:    rapid.SliceOfNDistinct(rapid.SampledFrom(some), 1, 3, peers.Op.Kind).Draw(t, "ops"),
		Within: rapid.SampledFrom([]int{0, 10, 60}).Draw(t, "within"),
	}
}

// someEnd ends what waits to be confirmed.
func (w *world) someEnd(t *rapid.T) peers.Op {
	var rev peers.Revision
	if p := w.inv.Pending; p != nil {
		rev = p.Revision
	}
	if rapid.Bool().Draw(t, "confirm") {
		return peers.ConfirmApply{Revision: rev}
	}
	return peers.TakeBack{Revision: rev}
}

// TestDeclareIsAll: what an inventory declares leads nowhere but to itself, and from any other inventory of the
// same hosts to what it says, in one change, or that change is refused as a whole.
func TestDeclareIsAll(t *testing.T) {
	reached := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(0, 25).Draw(t, "ops") {
			w.do(t, w.someOp(t))
		}
		a := w.inv
		declared := throughJSON(t, a.Declare())
		if ops, err := a.Toward(declared); err != nil || len(ops) != 0 {
			t.Fatalf("what it declares leads from itself to %v, %v", ops, err)
		}
		for range rapid.IntRange(1, 8).Draw(t, "more ops") {
			w.do(t, w.someOp(t))
		}
		ops, err := w.inv.Toward(declared)
		if err != nil || len(ops) == 0 || w.inv.Pending != nil {
			return // hosts have gone
		}
		changes := peers.DeclaredChanges(w.inv.Declare(), declared)
		next, err := w.inv.Apply(change(peers.Apply{Ops: ops}))
		if err != nil {
			if ps := (peers.Problems{}); !errors.As(err, &ps) || len(ps) == 0 {
				t.Fatalf("%v is no Problems", err)
			}
			return
		}
		reached++
		// Hosts that have come since have no labels; they are not in what was declared.
		got := next.Declare()
		got.Hosts, declared.Hosts = named(got.Hosts), named(declared.Hosts)
		if declared.Policy == nil {
			got.Policy = nil
		}
		if diff := cmp.Diff(indented(t, declared), indented(t, got)); diff != "" {
			t.Fatalf("it leads elsewhere (-want +got):\n%s", diff)
		}
		if len(changes) == 0 {
			t.Fatalf("%d operations change nothing to tell of", len(ops))
		}
	})
	if reached == 0 {
		t.Error("not once was anything reached")
	}
}

// named leaves out hosts of which nothing is said.
func named(hosts []peers.DeclaredHost) (out []peers.DeclaredHost) {
	for _, h := range hosts {
		if len(h.Labels) > 0 {
			out = append(out, h)
		}
	}
	return out
}

func indented(t interface{ Fatal(...any) }, v any) string {
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func throughJSON(t *rapid.T, d *peers.Declared) *peers.Declared {
	out := &peers.Declared{}
	if err := json.Unmarshal([]byte(indented(t, d)), out); err != nil {
		t.Fatal(err)
	}
	if indented(t, out) != indented(t, d) {
		t.Fatalf("JSON makes of %s\n%s", indented(t, d), indented(t, out))
	}
	return out
}

// TestTakeBackIsBefore: whatever hosts do meanwhile, a change that is taken back leaves what was declared before,
// and it can be taken back.
func TestTakeBackIsBefore(t *testing.T) {
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(0, 25).Draw(t, "ops") {
			w.do(t, w.someOp(t))
		}
		if w.inv.Pending != nil {
			w.do(t, peers.ConfirmApply{Revision: w.inv.Pending.Revision})
		}
		before := w.inv.Declare()
		op := w.someApply(t, "a", "shop").(peers.Apply)
		op.Within = 60
		w.do(t, op)
		if w.inv.Pending == nil {
			return
		}
		for range rapid.IntRange(0, 8).Draw(t, "more ops") {
			if op := w.someOp(t); op.Kind() != "apply.confirm" && op.Kind() != "apply.back" {
				w.do(t, op)
			}
		}
		p := w.inv.Pending
		next, err := w.inv.Apply(change(peers.TakeBack{Revision: p.Revision}))
		if err != nil {
			t.Fatalf("it cannot be taken back: %v", err)
		}
		taken++
		checkInventory(t, next)
		for _, o := range p.Objects {
			switch kind, name, _ := strings.Cut(o.Key, "/"); kind {
			case "policy":
				if indented(t, next.Policy) != indented(t, before.Policy) {
					t.Fatalf("another policy than before: %s", indented(t, next.Policy))
				}
			case "mesh":
				if indented(t, next.Declare().Settings) != indented(t, before.Settings) {
					t.Fatal("other settings than before")
				}
			case "site":
				if s := next.Sites[name]; s != nil && indented(t, append([]peers.SitePrefix{}, s.Prefixes...)) != prefixesBefore(t, before, name) {
					t.Fatalf("site %s has %v, before: %s", name, s.Prefixes, prefixesBefore(t, before, name))
				}
			}
		}
	})
	if taken == 0 {
		t.Error("not once was anything taken back")
	}
}

func prefixesBefore(t *rapid.T, d *peers.Declared, name string) string {
	for _, s := range d.Sites {
		if s.Name == name {
			return indented(t, append([]peers.SitePrefix{}, s.Prefixes...))
		}
	}
	return "[]"
}

func TestApplyRules(t *testing.T) {
	inv := threeSites(t)
	site := peers.SetSite{Name: "shop", Prefixes: networks("10.20.0.0/24")}
	inv = after(t, inv, site, peers.SetSite{Name: "warehouse", Prefixes: networks("10.21.0.0/24")})
	grace := 3600
	pending := after(t, inv, peers.Apply{Ops: peers.Ops{peers.SetMesh{Grace: &grace}, peers.RemoveSite{Name: "attic"}}[:1], Within: 60},
		peers.LabelHost{ID: idOf("shop"), Set: map[string]string{"a": "b"}})
	rev := pending.Pending.Revision
	late := change(peers.ConfirmApply{Revision: rev})
	late.At = epoch.Add(time.Hour)
	for name, c := range map[string]struct {
		inv    *peers.Inventory
		change peers.Change
		want   string
	}{
		"nothing":      {inv, change(peers.Apply{}), "change-empty"},
		"nil":          {inv, change(peers.Apply{Ops: peers.Ops{nil}}), "change-kind"},
		"itself":       {inv, change(peers.Apply{Ops: peers.Ops{peers.Apply{}}}), "change-kind"},
		"a revocation": {inv, change(peers.Apply{Ops: peers.Ops{peers.SetHostState{ID: idOf("shop"), State: peers.HostRevoked}}}), "change-kind"},
		"half":         {inv, change(peers.Apply{Ops: peers.Ops{site, peers.RemoveSite{Name: "warehouse"}}}), "site-used"},
		"too soon":     {inv, change(peers.Apply{Ops: peers.Ops{site}, Within: 1}), "within-invalid"},
		"too late":     {inv, change(peers.Apply{Ops: peers.Ops{site}, Within: 1 << 30}), "within-invalid"},
		"a second":     {pending, change(peers.Apply{Ops: peers.Ops{site}, Within: 60}), "pending"},
		"the same":     {pending, change(peers.SetMesh{Grace: &grace}), ""},
		"MTU":          {pending, change(peers.SetMesh{MTU: &grace}), "pending"},
		"schedule":     {pending, change(peers.SetSchedule{Schedule: &peers.Schedule{Every: 86400}}), "pending"},
		"rotation":     {pending, change(peers.StartGeneration{Number: 2}), ""},
		"confirmed":    {pending, change(peers.ConfirmApply{Revision: rev}), ""},
		"late":         {pending, late, "pending-late"},
		"another one":  {pending, change(peers.ConfirmApply{Revision: rev + 1}), "pending-none"},
		"none":         {inv, change(peers.TakeBack{Revision: 1}), "pending-none"},
		"sites swap": {inv, change(peers.Apply{Ops: peers.Ops{
			peers.SetSite{Name: "shop", Prefixes: networks("10.21.0.0/24")},
			peers.SetSite{Name: "warehouse", Prefixes: networks("10.20.0.0/24")},
		}}), ""},
	} {
		_, err := c.inv.Apply(c.change)
		var ps peers.Problems
		errors.As(err, &ps)
		if (err == nil) != (c.want == "") || c.want != "" && !ps.Has(c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestApplyKeepsTests: a change of labels must not break the tests of a policy that stays.
func TestApplyKeepsTests(t *testing.T) {
	inv := after(t, threeSites(t), peers.LabelHost{ID: idOf("shop"), Set: map[string]string{"role": "till"}},
		peers.SetPolicy{Policy: tested(policy("label:role=till host:warehouse tcp/5432"), "host:shop host:warehouse tcp/5432 allow")})
	_, err := inv.Apply(change(peers.Apply{Ops: peers.Ops{peers.LabelHost{ID: idOf("shop"), Remove: []string{"role"}}}}))
	if ps := (peers.Problems{}); !errors.As(err, &ps) || !ps.Has("test-failed") {
		t.Errorf("the test is broken: %v", err)
	}
}

// TestApplySpreads: the feed must learn from the entry whom a change concerns.
func TestApplySpreads(t *testing.T) {
	inv := threeSites(t)
	mtu := 1300
	for name, c := range map[string]struct {
		op             peers.Op
		all, everybody bool
	}{
		"site":   {peers.SetSite{Name: "shop", Prefixes: networks("10.20.0.0/24")}, false, true},
		"MTU":    {peers.SetMesh{MTU: &mtu}, true, false},
		"policy": {peers.SetPolicy{Policy: policy("* * icmp")}, false, true},
		"label":  {peers.LabelHost{ID: idOf("shop"), Set: map[string]string{"a": "b"}}, false, false},
	} {
		next, e, err := inv.Record(change(peers.Apply{Ops: peers.Ops{c.op}, Within: 60}))
		if err != nil {
			t.Fatal(err)
		}
		_, back, err := next.Record(change(peers.TakeBack{Revision: next.Revision}))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range []peers.Entry{e, back} {
			if _, all := e.Hosts(); all != c.all || e.Everybody() != c.everybody {
				t.Errorf("%s, %s: all %v, everybody %v", name, e.Kind, all, e.Everybody())
			}
		}
	}
}

// TestTakeBackLeavesOut: what is not there any more is left out, and a site that has found hosts stays.
func TestTakeBackLeavesOut(t *testing.T) {
	inv := after(t, threeSites(t), peers.SetSite{
		Name: "warehouse", Prefixes: networks("10.21.0.0/24"), Gateways: []string{"warehouse"},
	})
	rev := inv.Revision + 1
	inv = after(t, inv, peers.Apply{Within: 60, Ops: peers.Ops{
		peers.SetSite{Name: "warehouse"},
		peers.SetSite{Name: "attic", Prefixes: networks("10.22.0.0/24")},
		peers.LabelHost{ID: idOf("warehouse"), Set: map[string]string{"a": "b"}},
	}}, createToken("t-attic", "attic"), enroll("t-attic", "box"), peers.RemoveHost{ID: idOf("warehouse")}, peers.TakeBack{Revision: rev})
	if s := inv.Sites["warehouse"]; len(s.Prefixes) != 1 || len(s.Gateways) != 0 {
		t.Errorf("the warehouse is %+v", s)
	}
	if s := inv.Sites["attic"]; s == nil || len(s.Prefixes) != 0 {
		t.Errorf("the attic, which has a host, is %+v", s)
	}
	if inv.Hosts[idOf("warehouse")] != nil || inv.Pending != nil {
		t.Error("a host that was removed is back, or the change is still pending")
	}
}

// TestDeclaredHostsThatAreGone: a file that speaks of a host that has been revoked, or taken out, is refused. It would
// change nothing there, and say nothing of that.
func TestDeclaredHostsThatAreGone(t *testing.T) {
	inv := after(t, threeSites(t), peers.LabelHost{ID: idOf("shop"), Set: map[string]string{"role": "till"}})
	declared := inv.Declare()
	revoked := after(t, inv, peers.SetHostState{ID: idOf("shop"), State: peers.HostRevoked})
	for code, inv := range map[string]*peers.Inventory{
		"host-revoked": revoked, "host-unknown": after(t, revoked, peers.RemoveHost{ID: idOf("shop")}),
	} {
		_, err := inv.Toward(declared)
		var ps peers.Problems
		if !errors.As(err, &ps) || len(ps) != 1 || ps[0].Code != code || ps[0].Hint == "" {
			t.Errorf("want %s: %v", code, err)
		}
	}
}
