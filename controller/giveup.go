package controller

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// AbortRotation has the rotation that runs given up: the newer generation is held from now on, and dropped as soon as every
// host that has a key of it has said that it sends nothing by it. Where traffic has moved already it is refused, or, where
// that is heard of later, the rotation goes on.
func (c *Controller) AbortRotation(ctx context.Context, by string, order wire.RotationAbort) (wire.RotationView, error) {
	if order.DryRun {
		return c.rotationView(c.Inventory()), c.mayAbort(c.Inventory())
	}
	inv, err := c.change(ctx, by, order.Why, func(inv *peers.Inventory) (peers.Op, error) {
		if err := c.mayAbort(inv); err != nil || isHeld(inv) {
			return nil, err
		}
		return peers.HoldGeneration{Number: inv.Mesh.Current()}, nil
	})
	if err != nil {
		return wire.RotationView{}, err
	}
	return c.rotationView(inv), nil
}

// isHeld reports whether a rotation runs that is to be given up.
func isHeld(inv *peers.Inventory) bool {
	marks := inv.Mesh.Generations
	return len(marks) == 2 && marks[1].Held != 0
}

// mayAbort says why a rotation cannot be given up, as far as is known now.
func (c *Controller) mayAbort(inv *peers.Inventory) error {
	if len(inv.Mesh.Generations) != 2 {
		return wire.NewFault(http.StatusConflict, "rotation-idle", "no rotation runs", "warren rotate status")
	}
	moved, _, old := c.moves.held(inv, c.presence(inv, time.Now()))
	switch {
	case len(moved) > 0:
		return wire.NewFault(http.StatusConflict, "rotation-moved",
			fmt.Sprintf("the rotation to generation %d can only go on: traffic of %s has moved", inv.Mesh.Current(), namesOf(moved)),
			"warren rotate status says who is waited for; to wait for it no longer: warren host suspend NAME")
	case len(old) > 0:
		return wire.NewFault(http.StatusConflict, "agent-old",
			fmt.Sprintf("the agents of %s are too old to hold a rotation", namesOf(old)), "update warren-agent there")
	}
	return nil
}

// namesOf names some hosts.
func namesOf(hosts []*peers.Host) string {
	var names []string
	for _, h := range hosts[:min(len(hosts), mostNames)] {
		names = append(names, h.Name)
	}
	if more := len(hosts) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// giveUp drops the generation that is held when all hosts have said that they hold it, or releases it.
func (c *Controller) giveUp(ctx context.Context, now time.Time) error {
	var why string
	what := func(inv *peers.Inventory) (peers.Op, error) {
		if !isHeld(inv) {
			return nil, nil
		}
		g := inv.Mesh.Current()
		switch moved, waiting, _ := c.moves.held(inv, c.presence(inv, now)); {
		case len(moved) > 0:
			why = "traffic of " + namesOf(moved) + " has moved"
			return peers.ReleaseGeneration{Number: g}, nil
		case len(waiting) == 0:
			why = fmt.Sprintf("all hosts hold it; they keep the keys of generation %d", inv.Mesh.Generations[0].Number)
			return peers.DropGeneration{Number: g}, nil
		}
		return nil, nil
	}
	// What happens is only known when the change is computed, and a change says why beforehand.
	if op, err := what(c.Inventory()); op == nil || err != nil {
		return err
	}
	next, err := c.change(ctx, "controller", why, what)
	if err == nil && !isHeld(next) {
		c.log.Info("a rotation that was to be given up has been, or goes on", "generation", uint64(next.Mesh.Current()), "why", why)
	}
	return err
}

// holds takes in that a host holds the newer generation, with the plan of a revision on its disk.
func (m *moves) holds(id peers.HostID, with peers.Revision) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now != nil {
		m.now.Hold(id, with)
	}
}

// held says how it is with giving up the rotation of an inventory: whose traffic has moved, who is waited for, and which
// hosts that are connected do not know how to hold a generation.
func (m *moves) held(inv *peers.Inventory, presence func(peers.HostID) peers.Presence) (
	moved []*peers.Host, waiting []peers.Wait, old []*peers.Host,
) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.now.Is(&inv.Mesh) {
		return nil, []peers.Wait{{}}, nil // nothing is known yet
	}
	moved, waiting = m.now.Held(inv, presence)
	for _, h := range inv.SortedHosts() {
		if h.State == peers.HostActive && presence(h.ID) == peers.Online && !m.holders[h.ID] {
			old = append(old, h)
		}
	}
	return moved, waiting, old
}
