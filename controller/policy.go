package controller

import (
	"context"
	"slices"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Policy is the policy of the mesh.
func (c *Controller) Policy() wire.PolicyView {
	inv := c.Inventory()
	v := wire.PolicyView{
		Mode: wire.PolicyAllowAll, Policy: inv.Policy, Warnings: append([]peers.Problem{}, inv.PolicyWarnings()...),
		Unenforced: c.unenforced(inv),
	}
	if inv.Policy != nil {
		v.Mode = wire.PolicyEnforced
	}
	return v
}

// SetPolicy replaces the policy, or only tells what would come of it.
func (c *Controller) SetPolicy(ctx context.Context, by string, order wire.PolicyOrder) (wire.PolicyResult, error) {
	_, p, err := c.changeOrTry(ctx, by, order.Why, order.DryRun, func(*peers.Inventory) (peers.Op, error) {
		return within(peers.SetPolicy{Policy: order.Policy}, order.Within), nil
	})
	if err != nil {
		return wire.PolicyResult{}, err
	}
	return wire.PolicyResult{Applied: !order.DryRun, Consequences: p}, nil
}

// changeOrTry makes a change, or only what would come of it, and tells what that means to hosts.
func (c *Controller) changeOrTry(ctx context.Context, by, why string, try bool, what decide) (
	after *peers.Inventory, p wire.Consequences, err error,
) {
	var before *peers.Inventory
	do := func(inv *peers.Inventory) (peers.Op, error) {
		before = inv
		return what(inv)
	}
	if !try {
		if after, err = c.change(ctx, by, why, do); err != nil {
			return nil, p, err
		}
		return after, c.consequences(before, after), nil
	}
	op, err := do(c.Inventory())
	if err != nil {
		return nil, p, err
	}
	if after, err = before.Apply(peers.Change{At: c.now(), By: by, Why: why, Op: op}); err != nil {
		return nil, p, err
	}
	p = c.consequences(before, after)
	p.Revision, p.Pending = before.Revision, nil
	return after, p, nil
}

// consequences are what the step from one inventory to another means to hosts.
func (c *Controller) consequences(before, after *peers.Inventory) wire.Consequences {
	r := wire.Consequences{
		Revision: after.Revision, Flows: append([]peers.FlowChange{}, peers.FlowChanges(before, after)...),
		CutOff: append([]string{}, peers.CutOff(before, after)...), Unenforced: c.unenforced(after), Hosts: []string{},
		Warnings: append([]peers.Problem{}, after.PolicyWarnings()...), Pending: c.pendingView(after),
	}
	concerned := map[string]bool{}
	for _, f := range r.Flows {
		for _, name := range slices.Concat(f.From, f.To) {
			concerned[name] = true
		}
	}
	for _, h := range after.SortedHosts() {
		if concerned[h.Name] {
			r.Hosts = append(r.Hosts, h.Name)
		}
	}
	return r
}

// unenforced are the hosts whose agents do not know what a policy is.
func (c *Controller) unenforced(inv *peers.Inventory) []string {
	out := []string{}
	if inv.Policy == nil {
		return out
	}
	for _, h := range inv.SortedHosts() {
		if h.State == peers.HostActive && c.ignoresPolicy(h) {
			out = append(out, h.Name)
		}
	}
	return out
}

// ignoresPolicy reports whether the agent of a host has shown itself, and to be older than policies.
func (c *Controller) ignoresPolicy(h *peers.Host) bool {
	page := c.book.Of(h.ID)
	return page.Version != "" && page.Gate < peers.GateVersion
}

// policyProblem is what an agent that is older than policies cannot say of itself.
func policyProblem(h *peers.Host) peers.Problem {
	return peers.Problem{
		Code: "policy-unknown", At: "host/" + h.Name,
		Message: "its agent is too old to know policies: it lets in whatever its peers send",
		Hint:    "upgrade warren-agent on " + h.Name + "; hosts that it has no flow with do not reach it even so",
	}
}

// ChangeHost changes what an admin says of a host, its labels, or only tells what would come of it.
func (c *Controller) ChangeHost(ctx context.Context, by, name string, order wire.HostChange) (wire.HostResult, error) {
	var id peers.HostID
	after, p, err := c.changeOrTry(ctx, by, order.Why, order.DryRun, func(inv *peers.Inventory) (peers.Op, error) {
		h, err := findHost(inv, name)
		if err != nil {
			return nil, err
		}
		id = h.ID
		return within(peers.LabelHost{ID: h.ID, Set: order.Labels, Remove: order.Remove}, order.Within), nil
	})
	if err != nil {
		return wire.HostResult{}, err
	}
	return wire.HostResult{Applied: !order.DryRun, Host: c.hostView(after.Hosts[id]), Consequences: p}, nil
}
