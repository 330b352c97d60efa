package peers_test

import (
	"net/netip"
	"testing"

	"github.com/warren-mesh/warren/peers"
)

// TestGuardSteps holds what is done about the table, in whichever state it is.
func TestGuardSteps(t *testing.T) {
	plan := planOf(t, threeSites(t), "shop")
	k := applied(t, plan)
	guard := plan.Guard()
	set, del := peers.SetGuard{Guard: guard}, peers.DelGuard{}
	for name, c := range map[string]struct {
		have peers.Table
		plan peers.Plan
		want peers.Step
	}{
		"right":                     {peers.Table{There: true, Digest: guard.Digest()}, plan, nil},
		"none":                      {peers.Table{}, plan, set},
		"changed by somebody":       {peers.Table{There: true}, plan, set},
		"of another plan":           {peers.Table{There: true, Digest: peers.Guard{}.Digest()}, plan, set},
		"none possible":             {peers.Table{Fault: "no nf_tables"}, plan, nil},
		"none possible, none to be": {peers.Table{Fault: "no nf_tables"}, peers.Plan{}, nil},
		"none to be":                {peers.Table{There: true, Digest: guard.Digest()}, peers.Plan{}, del},
		"none to be, and changed":   {peers.Table{There: true}, peers.Plan{}, del},
	} {
		state := k.state()
		if len(c.plan.Interfaces) == 0 {
			state = peers.State{}
		}
		state.Guard = c.have
		steps := peers.Diff(state, c.plan)
		switch {
		case c.want == nil && len(steps) == 0:
		case len(steps) != 1 || steps[0].String() != c.want.String():
			t.Errorf("%s: steps %v, want %v", name, steps, c.want)
		}
	}
	if steps := peers.Building([]peers.Step{set, del}); len(steps) != 1 || steps[0] != set {
		t.Errorf("a plan from disk may do %v", steps)
	}
}

// TestMayLoad: a guard that was read from somewhere is taken as long as what is named in it is there.
func TestMayLoad(t *testing.T) {
	whole := func() peers.Guard {
		return peers.Guard{Wall: &peers.Wall{
			Ports: []uint16{51820, 51821}, Own: []netip.Addr{netip.MustParseAddr("10.90.0.1"), netip.MustParseAddr("fd00:90::1")},
			Flows: []peers.Passage{{Flow: 1, Counter: "flow-1"}, {Flow: 3, Counter: "flow-3"}},
			Policy: &peers.Filter{
				Targets: []peers.Target{{Sources: []peers.Source{{Class: 0}}}},
				Classes: []peers.Class{{Any: 1, ICMP: 3, TCP: []peers.PortRule{{Flow: 1}}, UDP: []peers.PortRule{{Flow: 3}}}},
			},
		}}
	}
	if !whole().MayLoad() || !(peers.Guard{}).MayLoad() {
		t.Error("a guard as it should be is refused")
	}
	for name, damage := range map[string]func(w *peers.Wall){
		"no ports":               func(w *peers.Wall) { w.Ports = nil },
		"no addresses":           func(w *peers.Wall) { w.Own = w.Own[:1] },
		"a class that is not":    func(w *peers.Wall) { w.Policy.Targets[0].Sources[0].Class = 1 },
		"everything by no flow":  func(w *peers.Wall) { w.Policy.Classes[0].Any = 2 },
		"ICMP by no flow":        func(w *peers.Wall) { w.Policy.Classes[0].ICMP = 2 },
		"a TCP port by no flow":  func(w *peers.Wall) { w.Policy.Classes[0].TCP[0].Flow = 0 },
		"a UDP port by no flow":  func(w *peers.Wall) { w.Policy.Classes[0].UDP[0].Flow = 4 },
		"flows without counters": func(w *peers.Wall) { w.Flows = nil },
	} {
		g := whole()
		damage(g.Wall)
		if g.MayLoad() {
			t.Errorf("%s is taken", name)
		}
	}
}
