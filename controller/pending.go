package controller

import (
	"context"
	"strings"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// pendingRest follows a change that could not be taken back.
const pendingRest = 5 * time.Second

// A pending is what a controller knows of a change that waits to be confirmed, beside the ledger.
type pending struct {
	revision  peers.Revision
	noticed   time.Time // by a clock that does not go back
	notBefore time.Time // another attempt, by the same clock
}

// within makes an operation one that is taken back unless it is confirmed; 0 leaves it as it is.
func within(op peers.Op, seconds int) peers.Op {
	if seconds == 0 {
		return op
	}
	return peers.Apply{Ops: peers.Ops{op}, Within: seconds}
}

// keepPending takes a change back that nobody has confirmed in time. It is in the ledger, so a controller that was
// dead meanwhile does it when it starts. now is the time of day, tick is of the clock that only goes forward: who
// puts the former back must not get more time than was asked for.
func (c *Controller) keepPending(ctx context.Context, now, tick time.Time) {
	p := c.Inventory().Pending
	if p == nil {
		return
	}
	if c.pending.revision != p.Revision {
		c.pending = pending{revision: p.Revision, noticed: tick}
	}
	over := !now.Before(p.Until) || tick.Sub(c.pending.noticed) >= p.Until.Sub(p.Since)
	if !over || tick.Before(c.pending.notBefore) {
		return
	}
	_, err := c.change(ctx, peers.ByController, "not confirmed in time", func(inv *peers.Inventory) (peers.Op, error) {
		if inv.Pending == nil || inv.Pending.Revision != p.Revision { // another controller was faster
			return nil, nil
		}
		return peers.TakeBack{Revision: p.Revision}, nil
	})
	if err != nil {
		c.pending.notBefore = tick.Add(pendingRest)
		c.log.Error("cannot take back a change that was not confirmed", "revision", uint64(p.Revision), "error", err)
		return
	}
	c.log.Warn("a change was taken back: nobody confirmed it in time", "revision", uint64(p.Revision), "by", p.By)
}

// Pending is the change that waits to be confirmed; nil for none.
func (c *Controller) Pending() *wire.Pending { return c.pendingView(c.Inventory()) }

func (c *Controller) pendingView(inv *peers.Inventory) *wire.Pending {
	p := inv.Pending
	if p == nil {
		return nil
	}
	v := &wire.Pending{
		Revision: p.Revision, By: p.By, Since: p.Since, Until: p.Until, Left: max(0, p.Until.Sub(c.now()).Seconds()),
		Objects: []string{},
	}
	for _, o := range p.Objects {
		name := o.Key
		if id, ok := strings.CutPrefix(o.Key, "host/"); ok {
			if h := inv.Hosts[peers.HostID(id)]; h != nil {
				name = "host/" + h.Name
			}
		}
		v.Objects = append(v.Objects, name)
	}
	return v
}

// EndPending lets the change stay that waits to be confirmed, or takes it back.
func (c *Controller) EndPending(ctx context.Context, by, action string) (wire.MeshView, error) {
	inv, err := c.change(ctx, by, "", func(inv *peers.Inventory) (peers.Op, error) {
		switch {
		case inv.Pending == nil:
			return nil, wire.NewFault(409, "pending-none", "no change waits to be confirmed", "warren audit log")
		case action == wire.PendingConfirm:
			return peers.ConfirmApply{Revision: inv.Pending.Revision}, nil
		}
		return peers.TakeBack{Revision: inv.Pending.Revision}, nil
	})
	if err != nil {
		return wire.MeshView{}, err
	}
	return c.meshView(inv), nil
}
