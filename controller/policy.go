package controller

import (
	"context"
	"slices"
	"time"

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
	op := within(peers.SetPolicy{Policy: order.Policy}, order.Within)
	if order.DryRun {
		before := c.Inventory()
		after, err := before.Apply(peers.Change{At: time.Now(), By: by, Op: op})
		if err != nil {
			return wire.PolicyResult{}, err
		}
		r := wire.PolicyResult{Consequences: c.consequences(before, after)}
		r.Revision, r.Pending = before.Revision, nil
		return r, nil
	}
	var before *peers.Inventory
	after, err := c.change(ctx, by, order.Why, func(inv *peers.Inventory) (peers.Op, error) {
		before = inv
		return op, nil
	})
	if err != nil {
		return wire.PolicyResult{}, err
	}
	return wire.PolicyResult{Applied: true, Consequences: c.consequences(before, after)}, nil
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

// ChangeHost changes what an admin says of a host: its labels.
func (c *Controller) ChangeHost(ctx context.Context, by, name string, order wire.HostChange) (wire.HostView, error) {
	var id peers.HostID
	inv, err := c.change(ctx, by, order.Why, func(inv *peers.Inventory) (peers.Op, error) {
		h, err := findHost(inv, name)
		if err != nil {
			return nil, err
		}
		id = h.ID
		return peers.LabelHost{ID: h.ID, Set: order.Labels, Remove: order.Remove}, nil
	})
	if err != nil {
		return wire.HostView{}, err
	}
	return c.hostView(inv.Hosts[id]), nil
}
