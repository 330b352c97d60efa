package controller_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestPolicyOrders: a policy and a label tell what they open and close, for a try as well, and can be taken back.
func TestPolicyOrders(t *testing.T) {
	s := newSite(t)
	till, erp := s.join("till"), s.join("erp")
	policy := wire.PolicyOrder{DryRun: true, Policy: peers.Policy{Flows: []peers.Flow{{
		From:  []peers.Selector{{Kind: peers.SelectLabel, Name: "role", Value: "till"}},
		To:    []peers.Selector{{Kind: peers.SelectHost, Name: "erp"}},
		Allow: []peers.Service{{Protocol: peers.ICMP}},
	}}}}
	before := s.c.Inventory()
	var p wire.PolicyResult
	s.must(http.MethodPut, wire.PathPolicy, policy, &p)
	if p.Applied || p.Revision != before.Revision || len(p.CutOff) != 2 || s.c.Inventory() != before {
		t.Fatalf("a dry run of a policy: %+v", p)
	}
	policy.DryRun = false
	s.must(http.MethodPut, wire.PathPolicy, policy, &p)
	if !p.Applied || p.Revision != before.Revision+1 || len(p.CutOff) != 2 || s.c.Inventory().Policy == nil {
		t.Fatalf("a policy: %+v", p)
	}

	label := wire.HostChange{Labels: map[string]string{"role": "till"}, DryRun: true}
	path := wire.PathHosts + "/till"
	labels := func() map[string]string { return s.c.Inventory().Hosts[till.id()].Labels }
	opens := func(r wire.HostResult) {
		t.Helper()
		if len(r.Flows) != 1 || len(r.Flows[0].Opens) != 1 || !slices.Equal(r.Hosts, []string{"erp", "till"}) || len(r.CutOff) != 0 {
			t.Errorf("it comes to %+v", r.Consequences)
		}
		if r.Host.ID != till.id() || r.Host.Labels["role"] != "till" {
			t.Errorf("the host is %+v", r.Host)
		}
	}
	var r wire.HostResult
	s.must(http.MethodPatch, path, label, &r)
	if opens(r); r.Applied || r.Pending != nil || r.Revision != p.Revision || len(labels()) != 0 {
		t.Fatalf("a dry run of a label: %+v, labels %v", r, labels())
	}
	label.DryRun, label.Within, label.Why = false, 60, "a try"
	s.must(http.MethodPatch, path, label, &r)
	if opens(r); !r.Applied || r.Revision != p.Revision+1 || labels()["role"] != "till" || r.Pending == nil ||
		!slices.Equal(r.Pending.Objects, []string{"host/till"}) {
		t.Fatalf("a label for a try: %+v, labels %v", r, labels())
	}
	if e := s.lastEntry(); e.Why != "a try" {
		t.Errorf("the entry says %q", e.Why)
	}
	s.must(http.MethodPost, wire.PathPending+"/"+wire.PendingRevert, nil, nil)
	if len(labels()) != 0 {
		t.Errorf("taken back, it has the labels %v", labels())
	}
	label.Within = 0
	s.must(http.MethodPatch, path, label, nil)
	r = wire.HostResult{}
	s.must(http.MethodPatch, path, wire.HostChange{Remove: []string{"role"}}, &r)
	if len(r.Flows) != 1 || len(r.Flows[0].Closes) != 1 || !slices.Equal(r.CutOff, []string{"erp", "till"}) || len(r.Host.Labels) != 0 {
		t.Errorf("a label taken away: %+v", r)
	}
	for code, order := range map[string]wire.HostChange{
		"label-unknown": {Remove: []string{"role"}}, "within-invalid": {Labels: map[string]string{"a": "b"}, Within: 1},
	} {
		f := s.admin(http.MethodPatch, wire.PathHosts+"/erp", order, nil)
		if f == nil || !slices.ContainsFunc(f.Problems, func(p peers.Problem) bool { return p.Code == code }) {
			t.Errorf("%+v: %+v, want %s", order, f, code)
		}
	}
	if f := s.admin(http.MethodPatch, wire.PathHosts+"/nobody", label, nil); f == nil || f.Code != "host-unknown" {
		t.Errorf("a label for nobody: %+v", f)
	}
	if h := s.c.Inventory().Hosts[erp.id()]; len(h.Labels) != 0 {
		t.Errorf("the other host has the labels %v", h.Labels)
	}
}
