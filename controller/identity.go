package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// vaultHeir is where the next identity of the controller is while hosts learn it.
const vaultHeir = "identity/next"

const defaultOverlap = 7 * 24 * time.Hour

// An identities is who this controller is, and which hosts know who it will be.
type identities struct {
	mu    sync.Mutex
	now   key.IdentityKey
	known map[peers.HostID]key.Identity // the next identity, as far as hosts have acknowledged it
	show  func(key.IdentityKey)         // to whoever connects; nil for nobody

	untidy   bool           // the vault still has the identity before
	complain rate.Sometimes // of a vault that cannot be put in order
}

// Identity is the key that the controller shows to everybody who connects.
func (c *Controller) Identity() key.IdentityKey {
	c.who.mu.Lock()
	defer c.who.mu.Unlock()
	return c.who.now
}

// OnRekey lets show be called with each identity that follows on the present one.
func (c *Controller) OnRekey(show func(key.IdentityKey)) {
	c.who.mu.Lock()
	defer c.who.mu.Unlock()
	c.who.show = show
}

// acknowledge takes in which next identity a host knows.
func (c *Controller) acknowledge(id peers.HostID, next key.Identity) {
	c.who.mu.Lock()
	defer c.who.mu.Unlock()
	if c.who.known == nil {
		c.who.known = map[peers.HostID]key.Identity{}
	}
	c.who.known[id] = next
}

// strangers are the active hosts that do not know the next identity yet.
func (c *Controller) strangers(inv *peers.Inventory) (hosts []*peers.Host) {
	c.who.mu.Lock()
	defer c.who.mu.Unlock()
	for _, h := range inv.SortedHosts() {
		if h.State == peers.HostActive && c.who.known[h.ID] != inv.Mesh.Heir.To {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// RekeyMesh begins to give the controller another identity. Hosts are told over the connections that are
// pinned to the present one; when all know it, or the overlap is over, it is the only one.
func (c *Controller) RekeyMesh(ctx context.Context, by string, order wire.MeshRekey) (wire.MeshView, error) {
	overlap := time.Duration(order.Overlap) * time.Second
	if overlap == 0 {
		overlap = defaultOverlap
	}
	inv, err := c.change(ctx, by, order.Why, func(inv *peers.Inventory) (peers.Op, error) {
		now := c.Identity()
		if inv.Mesh.Heir != nil { // which is refused with the reason
			return peers.RekeyMesh{From: now.Identity()}, nil
		}
		next, err := c.makeHeir(ctx)
		if err != nil {
			return nil, err
		}
		return peers.RekeyMesh{
			From: now.Identity(), To: next.Identity(), Until: c.now().Add(overlap).UTC().Truncate(time.Second),
			Signature: peers.SignHandover(inv.Mesh.ID, now, next.Identity()).Signature,
		}, nil
	})
	if err != nil {
		return wire.MeshView{}, err
	}
	return c.meshView(inv), nil
}

// makeHeir makes the next identity. One that is there is taken: it belongs to an attempt of which nobody has heard, or to
// another controller, whose hosts may hear of it any moment.
func (c *Controller) makeHeir(ctx context.Context) (key.IdentityKey, error) {
	for range changeTries {
		k, err := c.fetchIdentity(ctx, vaultHeir)
		if err == nil && k.Identity() != c.Identity().Identity() {
			return k, nil
		}
		if !errors.Is(err, fs.ErrNotExist) { // it is of no use, or what the last change of identity left
			if err := c.vault.Destroy(ctx, vaultHeir); err != nil {
				return k, ledgerFault(err)
			}
		}
		if k, err = key.NewIdentityKey(rand.Reader); err != nil {
			return k, fmt.Errorf("make an identity: %v", err)
		}
		err = c.vault.Create(ctx, map[string][]byte{vaultHeir: []byte(k.Expose())})
		if err == nil {
			return k, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return k, ledgerFault(err)
		}
	}
	return key.IdentityKey{}, wire.NewFault(503, "busy", "other controllers are faster, again and again", "try again")
}

// keepIdentity ends the overlap when there is nobody left to wait for, or its time is over.
func (c *Controller) keepIdentity(ctx context.Context, now time.Time) {
	if err := c.succeedSelf(ctx, c.Inventory()); err != nil {
		c.who.complain.Do(func() { c.log.Error("cannot put the controller's identity in order", "error", err) })
	}
	over := func(inv *peers.Inventory) bool {
		heir := inv.Mesh.Heir
		return heir != nil && (!now.Before(heir.Until) || len(c.strangers(inv)) == 0)
	}
	if !over(c.Inventory()) {
		return
	}
	_, err := c.change(ctx, "controller", "", func(inv *peers.Inventory) (peers.Op, error) {
		if !over(inv) {
			return nil, nil
		}
		op := peers.SucceedMesh{To: inv.Mesh.Heir.To}
		for _, h := range c.strangers(inv) {
			op.Behind = append(op.Behind, h.ID)
		}
		return op, nil
	})
	if err != nil {
		c.log.Error("cannot end the overlap of two identities of the controller", "error", err)
	}
}

// succeedSelf makes the next identity the controller's, where the ledger says that it is. It is shown from
// then on whether or not the vault can be put in order, which is tried again.
func (c *Controller) succeedSelf(ctx context.Context, inv *peers.Inventory) error {
	if pin := inv.Mesh.Pin; pin.IsZero() || c.Identity().Identity() == pin {
		return c.tidyIdentity(ctx)
	}
	next, err := c.fetchIdentity(ctx, vaultHeir)
	if err != nil || next.Identity() != inv.Mesh.Pin {
		// Another controller on this ledger was faster, or the vault is not that of the ledger.
		next, err = c.fetchIdentity(ctx, vaultIdentity)
	}
	switch {
	case err != nil:
		return err
	case next.Identity() != inv.Mesh.Pin:
		return &StartError{
			what: "the identity in the vault is not the one that the ledger names, which every host has pinned",
			hint: "restore the data directory from a backup",
		}
	}
	c.log.Info("the controller has a new identity", "pin", next.Identity().String())
	c.become(next)
	return c.tidyIdentity(ctx)
}

func (c *Controller) become(next key.IdentityKey) {
	c.who.mu.Lock()
	defer c.who.mu.Unlock()
	c.who.now, c.who.untidy = next, true
	if c.who.show != nil {
		c.who.show(next)
	}
}

// tidyIdentity puts the new identity in the place of the one before in the vault, and destroys that.
func (c *Controller) tidyIdentity(ctx context.Context) error {
	c.who.mu.Lock()
	defer c.who.mu.Unlock()
	if !c.who.untidy {
		return nil
	}
	err := c.vault.Put(ctx, map[string][]byte{vaultIdentity: []byte(c.who.now.Expose())})
	if err == nil {
		err = c.vault.Destroy(ctx, vaultHeir)
	}
	if err != nil {
		return fmt.Errorf("keep the controller's new identity: %w", err)
	}
	c.who.untidy = false
	return nil
}

func (c *Controller) fetchIdentity(ctx context.Context, name string) (key.IdentityKey, error) {
	raw, err := c.vault.Fetch(ctx, name)
	if err != nil {
		return key.IdentityKey{}, fmt.Errorf("read the controller's identity: %w", err)
	}
	k, err := key.ParseIdentityKey(string(raw))
	if err != nil {
		return key.IdentityKey{}, fmt.Errorf("the controller's identity is damaged: %v", err)
	}
	return k, nil
}

// loadIdentity reads the key that every host has pinned. There is no way to go on without it: a new one
// would be another controller to all of them.
func (c *Controller) loadIdentity(ctx context.Context, inv *peers.Inventory) error {
	now, err := c.fetchIdentity(ctx, vaultIdentity)
	if errors.Is(err, fs.ErrNotExist) {
		return &StartError{
			what: fmt.Sprintf("the ledger of mesh %q is there, but not the identity of its controller, "+
				"which every host has pinned", inv.Mesh.Name),
			hint: "restore the data directory from a backup",
		}
	}
	if err != nil {
		return err
	}
	c.who.now = now
	return c.succeedSelf(ctx, inv)
}

// nextPin is what admins see of the overlap; nil where there is none.
func (c *Controller) nextPin(inv *peers.Inventory) *wire.NextPin {
	heir := inv.Mesh.Heir
	if heir == nil {
		return nil
	}
	v := &wire.NextPin{Identity: heir.To, Since: heir.Since, Until: heir.Until, Waiting: []string{}}
	for _, h := range c.strangers(inv) {
		v.Waiting = append(v.Waiting, h.Name)
	}
	for _, h := range inv.Hosts {
		if h.State == peers.HostActive {
			v.Known++
		}
	}
	v.Known -= len(v.Waiting)
	return v
}
