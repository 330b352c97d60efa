package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Declared is all that admins have said of the mesh so far.
func (c *Controller) Declared() wire.DeclaredView {
	inv := c.Inventory()
	return wire.DeclaredView{Revision: inv.Revision, Declared: *inv.Declare()}
}

// SetDeclared makes the mesh what is declared, or only tells what would come of it.
func (c *Controller) SetDeclared(ctx context.Context, by string, order wire.DeclaredOrder) (wire.DeclaredResult, error) {
	if err := c.checkZones(&order.Declared); err != nil {
		return wire.DeclaredResult{}, err
	}
	if order.DryRun {
		r, _, err := c.plan(c.Inventory(), by, &order)
		return r, err
	}
	var r wire.DeclaredResult
	after, err := c.change(ctx, by, order.Why, func(inv *peers.Inventory) (peers.Op, error) {
		var op peers.Op
		var err error
		r, op, err = c.plan(inv, by, &order)
		if err == nil && order.Expect != "" && order.Expect != r.Digest {
			err = wire.NewFault(409, "plan-changed",
				"the mesh has changed meanwhile: what would be done is not what was shown", "look at it again, with --dry-run")
		}
		return op, err
	})
	if err != nil {
		return wire.DeclaredResult{}, err
	}
	r.Applied, r.Revision, r.Pending = true, after.Revision, c.pendingView(after)
	return r, nil
}

// plan is what an order means to an inventory, and the operation that does it; nil where there is nothing to do.
func (c *Controller) plan(inv *peers.Inventory, by string, order *wire.DeclaredOrder) (
	r wire.DeclaredResult, op peers.Op, err error,
) {
	ops, err := inv.Toward(&order.Declared)
	if err != nil {
		return r, nil, err
	}
	warnings, err := c.checkReaches(ops)
	if err != nil {
		return r, nil, err
	}
	after := inv
	if len(ops) > 0 {
		apply := peers.Apply{Ops: ops, Within: order.Within}
		if after, err = inv.Apply(peers.Change{At: c.now(), By: by, Op: apply}); err != nil {
			return r, nil, err
		}
		op = apply
	}
	r.Consequences = c.consequences(inv, after)
	r.Warnings = append(r.Warnings, warnings...)
	r.Changes = append([]peers.DeclaredChange{}, peers.DeclaredChanges(inv.Declare(), after.Declare())...)
	r.Revision, r.Pending = inv.Revision, nil
	raw, err := json.Marshal([]any{ops, r.Flows, r.CutOff})
	if err != nil {
		return r, nil, fmt.Errorf("encode a plan of changes: %v", err)
	}
	sum := sha256.Sum256(raw)
	r.Digest = hex.EncodeToString(sum[:16])
	return r, op, nil
}

// checkReaches is checkReach for all sites that are set.
func (c *Controller) checkReaches(ops peers.Ops) (warnings []peers.Problem, err error) {
	var problems peers.Problems
	for _, op := range ops {
		if set, ok := op.(peers.SetSite); ok {
			w, err := c.checkReach(set)
			if ps, ok := errors.AsType[peers.Problems](err); ok {
				problems = append(problems, ps...)
			}
			warnings = append(warnings, w...)
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return warnings, nil
}

// checkZones refuses windows in time zones that there are not.
func (c *Controller) checkZones(d *peers.Declared) error {
	if d.Schedule == nil || d.Schedule.Schedule == nil {
		return nil
	}
	var problems peers.Problems
	for i, w := range d.Schedule.Schedule.Windows {
		if _, err := c.schedule.zone(w.Zone()); err != nil {
			problems = append(problems, peers.Problem{
				Code: "schedule-window", At: fmt.Sprintf("mesh/schedule/windows/%d", i), Message: err.Error(),
			})
		}
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}
