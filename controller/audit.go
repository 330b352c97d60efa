package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/warren-mesh/warren/controller/api"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// What one page of the audit log holds at most, and how many entries are looked at for it.
const (
	auditEntries = 256
	auditBytes   = 1 << 20
	auditLooks   = 4096
)

// progressEvery is how often a verification tells how far it is.
const progressEvery = time.Second

// Audit is a page of the audit log. One that begins at the head waits for the next change as long as the
// caller wishes.
func (c *Controller) Audit(ctx context.Context, q api.AuditQuery) (wire.AuditPage, error) {
	head, err := c.head(ctx, q.After, q.Wait)
	if err != nil {
		return wire.AuditPage{}, err
	}
	page := wire.AuditPage{Entries: []wire.AuditEntry{}, Next: q.After, Head: head}
	size, looks := 0, 0
	for e, err := range c.ledger.Read(ctx, q.After) {
		if err != nil {
			return page, ledgerFault(err)
		}
		page.Next, page.Head = e.Revision, max(page.Head, e.Revision)
		if !e.At.Before(q.Since) {
			page.Entries = append(page.Entries, wire.AuditEntry{Entry: e, What: e.Tell()})
			size += len(e.Op)
			for _, o := range e.Objects {
				size += len(o.Before) + len(o.After)
			}
		}
		if looks++; looks == auditLooks || len(page.Entries) == auditEntries || size >= auditBytes {
			break
		}
	}
	return page, nil
}

// head is the newest revision. Where that is not after another one, it waits for one that is.
func (c *Controller) head(ctx context.Context, after peers.Revision, patience time.Duration) (peers.Revision, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heads, err := c.ledger.Watch(ctx)
	if err != nil {
		return 0, ledgerFault(err)
	}
	head := c.feed.Inventory().Revision
	select {
	case head = <-heads:
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for patience > 0 && head <= after {
		select {
		case next, ok := <-heads:
			if !ok {
				return head, nil
			}
			head = next
		case <-timer.C:
			return head, nil
		case <-ctx.Done():
			return head, ctx.Err()
		}
	}
	return head, nil
}

// VerifyLedger applies every change of the ledger again, from the first one on and by today's rules, and
// holds the result against what the ledger says that its entries add up to. It tells how far it is as it
// goes; the last progress has the outcome. Changes go on meanwhile.
func (c *Controller) VerifyLedger(ctx context.Context, tell func(wire.AuditProgress) error) error {
	if !c.limits.verifying.TryLock() {
		return wire.NewFault(409, "verifying", "the ledger is just being verified", "wait, then: warren audit verify")
	}
	defer c.limits.verifying.Unlock()
	inv, err := c.replay(ctx, tell)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p := wire.AuditProgress{Revision: inv.Revision, Head: max(inv.Revision, c.feed.Inventory().Revision), Hash: inv.Head}
	if err != nil {
		p.Fault = brokenFault(inv.Revision, err)
	}
	p.Done = err == nil
	return tell(p)
}

// replay gives the inventory up to which the ledger is right.
func (c *Controller) replay(ctx context.Context, tell func(wire.AuditProgress) error) (*peers.Inventory, error) {
	inv := &peers.Inventory{}
	told := time.Now()
	for {
		for e, err := range c.ledger.Read(ctx, inv.Revision) {
			if err != nil {
				return inv, err
			}
			next, err := inv.Replay(e)
			if err != nil {
				return inv, err
			}
			inv = next
			if time.Since(told) < progressEvery {
				continue
			}
			told = time.Now()
			head := max(inv.Revision, c.feed.Inventory().Revision)
			if err := tell(wire.AuditProgress{Revision: inv.Revision, Head: head, Hash: inv.Head}); err != nil {
				return inv, err
			}
		}
		now, err := c.ledger.Load(ctx)
		if err != nil {
			return inv, err
		}
		if now.Revision > inv.Revision {
			continue
		}
		return inv, compare(inv, now)
	}
}

// errNotTheSum is returned for a ledger whose entries are right but do not add up to its objects.
var errNotTheSum = errors.New("the entries do not add up to the state that the controller works with")

// compare holds what the entries add up to against what the ledger says.
func compare(want, got *peers.Inventory) error {
	if want.Revision != got.Revision || want.Head != got.Head {
		return fmt.Errorf("its head is revision %d, its entries end at %d: %w", got.Revision, want.Revision, errNotTheSum)
	}
	objects := map[string][]byte{}
	for _, o := range got.Objects() {
		objects[o.Key] = o.After
	}
	for _, o := range want.Objects() {
		if !bytes.Equal(objects[o.Key], o.After) {
			return fmt.Errorf("object %s: %w", o.Key, errNotTheSum)
		}
		delete(objects, o.Key)
	}
	for name := range objects {
		return fmt.Errorf("object %s has no entry: %w", name, errNotTheSum)
	}
	return nil
}

// brokenFault says where a ledger is not right: at the entry after the last good one.
func brokenFault(good peers.Revision, err error) *wire.Fault {
	p := peers.Problem{
		Code: "ledger-broken", At: fmt.Sprintf("revision/%d", good+1), Message: err.Error(),
		Hint: "somebody has written to the database past the controller, or the disk is failing: " +
			"keep a copy of it, then restore a backup",
	}
	if errors.Is(err, errNotTheSum) {
		p.At = fmt.Sprintf("revision/%d", good)
	}
	return wire.FaultOf(500, peers.Problems{p})
}
