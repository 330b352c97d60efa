package agent

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Codes of the problems with a policy that is not enforced.
const (
	codeFirewallOff = "firewall-off"      // the operator of the host wants no rules
	codeUnenforced  = "policy-unenforced" // the kernel can have none
)

// guarded is the guard of the plan, compiled when the plan or the host's own networks have changed.
type guarded struct {
	guard     peers.Guard
	connected []netip.Prefix
	doubled   bool
}

// guard gives the plan its guard.
func (l *loop) guard(want *peers.Plan) {
	var connected []netip.Prefix
	for _, f := range l.seen.state.Foreign {
		if f.Connected {
			connected = append(connected, f.Prefix)
		}
	}
	slices.SortFunc(connected, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	doubled := !want.Doubling.IsEmpty()
	if g := l.plan.guarded; g == nil || !slices.Equal(g.connected, connected) || g.doubled != doubled {
		l.plan.guarded = &guarded{connected: connected, doubled: doubled, guard: l.plan.want.CompileGuard(peers.GuardOptions{
			Off: l.NoFirewall, NoLeak: l.NoLeakGuard, Connected: connected, Doubled: doubled,
		})}
	}
	want.Guarded = &l.plan.guarded.guard
	l.trouble.set(fromGuard, l.guardProblems()...)
}

// keepGuard has the guard that is in force kept on disk, for the moments of the next start before the agent runs.
func (l *loop) keepGuard(want *peers.Plan) {
	if want.Guarded == nil {
		return
	}
	digest := want.Guarded.Digest()
	inForce := want.Guarded.IsEmpty() || l.seen.state.Guard.Digest == digest
	if inForce && l.keptGuard != digest {
		l.keptGuard = digest
		l.saver.offerGuard(*want.Guarded)
	}
}

// guardProblems says where a policy is not enforced. Hosts without a flow to this one do not reach it even so:
// they have no keys.
func (l *loop) guardProblems() []peers.Problem {
	if g := l.plan.want.Gate; g == nil || !g.Policy {
		return nil
	}
	if l.NoFirewall {
		return []peers.Problem{{
			Code: codeFirewallOff, At: "guard", Message: "the firewall is off on this host: it lets in whatever its peers send",
			Hint: "remove firewall: off from /etc/warren/agent.yaml, then: systemctl restart warren-agent",
		}}
	}
	if why := l.seen.state.Guard.Fault; why != "" {
		return []peers.Problem{{
			Code: codeUnenforced, At: "guard", Message: "the policy cannot be enforced on this host: " + why,
			Hint: "modprobe nf_tables, or use a kernel that has it; hosts without a flow to this one do not reach it even so",
		}}
	}
	return nil
}

// guardStatus is how things stand with the guard.
func (l *loop) guardStatus() *wire.GuardStatus {
	g := &wire.GuardStatus{Firewall: wire.GuardOn, LeakGuard: wire.GuardOn, Policy: wire.PolicyAllowAll}
	if l.NoLeakGuard {
		g.LeakGuard = wire.GuardOff
	}
	switch {
	case l.NoFirewall:
		g.Firewall, g.LeakGuard = wire.GuardOff, wire.GuardOff
	case l.seen.state.Guard.Fault != "":
		g.Firewall, g.LeakGuard = wire.GuardMissing, wire.GuardMissing
	}
	if gate := l.plan.want.Gate; gate != nil && gate.Policy {
		g.Policy, g.Flows = wire.PolicyEnforced, len(gate.Rules)
		if g.Firewall != wire.GuardOn {
			g.Policy = wire.PolicyUnenforced
		}
	}
	return g
}

// Flows are what this host lets in, how much of it there was, and what was dropped.
func (a *Agent) Flows(ctx context.Context) (wire.FlowReport, error) {
	var out wire.FlowReport
	var failed error
	err := a.do(ctx, func(ctx context.Context, l *loop) {
		if l.plan == nil {
			failed = faultUnenrolled()
			return
		}
		counted, err := l.Counters(ctx)
		if err != nil {
			failed = wire.NewFault(http.StatusServiceUnavailable, "counters", fmt.Sprintf("read the counters: %v", err), "warren doctor")
			return
		}
		out = l.flows(counted)
	})
	if err == nil {
		err = failed
	}
	return out, err
}

func (l *loop) flows(counted map[string]peers.Counter) wire.FlowReport {
	p := &l.plan.want
	out := wire.FlowReport{Host: p.Self.Name, Guard: *l.guardStatus(), Allowed: []wire.FlowCount{}, Dropped: []wire.DropCount{}}
	if l.plan.guarded == nil || l.plan.guarded.guard.Wall == nil {
		return out
	}
	wall := l.plan.guarded.guard.Wall
	if wall.Policy == nil {
		all := peers.Selector{Kind: peers.SelectAll}
		out.Allowed = append(out.Allowed, wire.FlowCount{
			From: []peers.Selector{all}, Allow: []peers.Service{{Protocol: peers.AnyProtocol}}, Counter: counted[peers.CounterOpened],
		})
		out.Dropped = append(out.Dropped, wire.DropCount{
			Rule: peers.CounterStrayed, Message: "from the mesh, and for what is not in it", Counter: counted[peers.CounterStrayed],
		})
	} else {
		for i := range p.Gate.Rules {
			r := &p.Gate.Rules[i]
			out.Allowed = append(out.Allowed, wire.FlowCount{
				Flow: r.Flow, From: r.From, To: r.To, Allow: r.Allow, Counter: counted[wall.Counter(r.Flow)],
			})
		}
		out.Dropped = append(out.Dropped, wire.DropCount{
			Rule: peers.CounterRefused, Message: "from the mesh, and no flow allows it", Counter: counted[peers.CounterRefused],
		})
	}
	if len(wall.Inside) > 0 {
		out.Dropped = append(out.Dropped, wire.DropCount{
			Rule: peers.CounterLeaked, Message: "for the mesh, and would have left outside of a tunnel",
			Counter: counted[peers.CounterLeaked],
		}, wire.DropCount{
			Rule: peers.CounterSpoofed, Message: "claims to come from the mesh, and came outside of a tunnel",
			Counter: counted[peers.CounterSpoofed],
		})
	}
	return out
}
