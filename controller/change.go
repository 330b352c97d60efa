package controller

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/warren-mesh/warren/controller/failpoint"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	changeTimeout = 15 * time.Second
	changeTries   = 50 // against other controllers
)

// A decide looks at the inventory and says what to do to it; nil for nothing. It is called again when
// somebody else was faster.
type decide func(inv *peers.Inventory) (peers.Op, error)

// change is the one way in which the state changes. It gives the inventory in which the change is done.
func (c *Controller) change(ctx context.Context, by, why string, what decide) (*peers.Inventory, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	// A caller who goes away must not leave it open whether the change was made.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTimeout)
	defer cancel()
	for range changeTries {
		if c.behind {
			if err := c.catchUp(ctx); err != nil {
				return nil, err
			}
		}
		inv := c.feed.Inventory()
		op, err := what(inv)
		if err != nil || op == nil {
			return inv, err
		}
		next, entry, err := inv.Record(peers.Change{At: c.now(), By: by, Why: why, Op: op})
		if err != nil {
			return nil, err
		}
		err = c.ledger.Append(ctx, entry)
		if err == nil {
			failpoint.Recorded(entry)
			err = c.publish(ctx, next, entry)
			failpoint.Published(entry)
			return next, err
		}
		c.behind = true
		if !errors.Is(err, peers.ErrConflict) {
			return nil, ledgerFault(err)
		}
	}
	return nil, wire.NewFault(503, "busy", "other controllers are faster, again and again", "try again")
}

// ledgerFault tells an admin what the ledger said, which names the file, and what helps where it knows.
func ledgerFault(err error) *wire.Fault {
	hint := "journalctl -u warren-controller"
	if hinted, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		hint = hinted.Hint()
	}
	status, code := 503, "ledger-failed"
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		status, code = 507, "disk-full" // the one failure that scripts can do something about
	}
	return wire.NewFault(status, code, fmt.Sprintf("the ledger did not take the change: %v", err),
		"on the controller: "+hint)
}

// publish lets everybody know of an inventory that the ledger has.
func (c *Controller) publish(ctx context.Context, inv *peers.Inventory, e peers.Entry) error {
	before := c.feed.Inventory()
	if err := c.publishFeed(ctx, inv, e); err != nil {
		c.behind = true
		return fmt.Errorf("publish revision %d: %w", e.Revision, err)
	}
	c.schedule.note(e)
	if e.Kind == (peers.SucceedMesh{}).Kind() {
		// What fails here is done again by Run; the change is made.
		if err := c.succeedSelf(context.Background(), inv); err != nil {
			c.log.Error("cannot take the new identity yet", "error", err)
		}
	}
	ids, _ := e.Hosts()
	c.followMoves(before, inv, ids)
	for _, id := range ids {
		if fault := barred(inv, id); fault != nil {
			c.sessions.end(id, fault)
		}
		if inv.Hosts[id] == nil {
			c.book.Forget(id)
		}
	}
	return nil
}

// publishFeed lets the feed know. The secret of a new generation comes before the hosts hear of it, and
// that of an old one goes after they have.
func (c *Controller) publishFeed(ctx context.Context, inv *peers.Inventory, e peers.Entry) error {
	if e.Kind == (peers.StartGeneration{}).Kind() {
		if err := c.reloadSecrets(ctx, inv); err != nil {
			return err
		}
	}
	if err := c.feed.Publish(inv, e); err != nil {
		return err
	}
	if e.Kind == (peers.RetireGeneration{}).Kind() || e.Kind == (peers.DropGeneration{}).Kind() {
		return c.reloadSecrets(ctx, inv)
	}
	return nil
}

// catchUp takes in what the ledger has and the feed lacks. Every entry is held against the rules again.
func (c *Controller) catchUp(ctx context.Context) error {
	inv := c.feed.Inventory()
	for e, err := range c.ledger.Read(ctx, inv.Revision) {
		if err != nil {
			return ledgerFault(err)
		}
		next, err := inv.Replay(e)
		if err != nil {
			return ledgerFault(err)
		}
		if err := c.publish(ctx, next, e); err != nil {
			return err
		}
		inv = next
	}
	c.behind = false
	return nil
}

// follow takes in what another controller wrote, when the ledger says that it has grown.
func (c *Controller) follow(ctx context.Context, head peers.Revision) {
	if head <= c.feed.Inventory().Revision {
		return
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	if head <= c.feed.Inventory().Revision { // it was this one
		return
	}
	if err := c.catchUp(ctx); err != nil {
		c.log.Error("cannot follow the ledger", "revision", uint64(head), "error", err)
	}
}
