package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// returnWithin is how long hosts may take to come back to a controller that was away itself. While it was, they could not
// be seen, and to take them for gone would end a rotation under their traffic.
const returnWithin = time.Minute

// presence says whether a host is connected, or for how long it has been away since the rotation began.
func (c *Controller) presence(inv *peers.Inventory, now time.Time) func(peers.HostID) peers.Presence {
	started, grace := inv.Mesh.Generations[len(inv.Mesh.Generations)-1].Started, inv.Mesh.RotationGrace()
	return func(id peers.HostID) peers.Presence {
		if c.sessions.online(id) {
			return peers.Online
		}
		since := started
		if seen := c.book.Of(id).Seen; seen.After(since) {
			since = seen
		}
		if now.Sub(since) >= grace && now.Sub(c.opened) >= min(grace, returnWithin) {
			return peers.Gone
		}
		return peers.Away
	}
}

// retire ends the rotation. Whether it may is looked at within the change: a host may just have enrolled.
func (c *Controller) retire(ctx context.Context) error {
	var summary string
	what := func(inv *peers.Inventory) (peers.Op, error) {
		p, runs := c.moves.progress(inv, c.presence(inv, time.Now()))
		if !runs || !p.Settled && !p.Gone || isHeld(inv) {
			return nil, nil
		}
		op := peers.RetireGeneration{Number: inv.Mesh.Generations[0].Number, Behind: behind(inv), Cut: p.Pairs - p.Switched}
		summary = summarise(inv, p, op.Behind, time.Now())
		return op, nil
	}
	// What happened is only known when the change is computed, and a change says why beforehand.
	inv := c.Inventory()
	if op, err := what(inv); op == nil || err != nil {
		return err
	}
	next, err := c.change(ctx, "controller", summary, what)
	if err == nil && len(next.Mesh.Generations) == 1 {
		c.log.Info("rotation ended", "generation", uint64(next.Mesh.Current()), "summary", summary)
	}
	return err
}

// behind are the hosts that have not announced a key of the newest generation.
func behind(inv *peers.Inventory) (ids []peers.HostID) {
	for _, h := range inv.SortedHosts() {
		if h.State == peers.HostActive && h.Key(inv.Mesh.Current()).IsZero() {
			ids = append(ids, h.ID)
		}
	}
	return ids
}

// summarise tells what happened in a rotation, for the ledger.
func summarise(inv *peers.Inventory, p peers.Progress, behind []peers.HostID, now time.Time) string {
	took := now.Sub(inv.Mesh.Generations[1].Started).Round(time.Second)
	out := fmt.Sprintf("%d of %d pairs moved to generation %d in %v", p.Switched, p.Pairs, inv.Mesh.Current(), took)
	if p.Settled {
		return out
	}
	out += "; the time to wait for hosts that are away is over"
	var names []string
	for _, id := range behind {
		names = append(names, inv.Hosts[id].Name)
	}
	if n := len(names); n > 0 {
		out += fmt.Sprintf("; left behind: %s", strings.Join(names[:min(n, mostNames)], ", "))
		if n > mostNames {
			out += fmt.Sprintf(" and %d more", n-mostNames)
		}
	}
	return out
}
