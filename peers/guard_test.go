package peers_test

import (
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
