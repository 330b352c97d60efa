package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"

	"github.com/warren-mesh/warren/controller/failpoint"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// makeSecret makes the secret of a generation, unless an earlier attempt got as far as that, or another controller.
func (c *Controller) makeSecret(ctx context.Context, g peers.Generation) error {
	_, err := c.vault.Fetch(ctx, vaultSecret(g))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	secret, err := key.NewSecret(rand.Reader)
	if err != nil {
		return fmt.Errorf("make a secret: %v", err)
	}
	err = c.vault.Create(ctx, map[string][]byte{vaultSecret(g): []byte(secret.Expose())})
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return ledgerFault(err)
	}
	failpoint.Reach(failpoint.SecretMade)
	return nil
}

// mostBack is how many generations before the oldest one are looked at when the controller starts.
const mostBack = 100

// destroySecrets destroys the secrets of generations that are over: those before the oldest one in use, and the one that was
// given up last. A start of the controller looks once.
func (c *Controller) destroySecrets(ctx context.Context) error {
	m := &c.Inventory().Mesh
	oldest := m.Generations[0].Number
	for g := max(c.destroyed, oldest-min(oldest, mostBack)) + 1; g < oldest; g++ {
		if err := c.destroySecret(ctx, g); err != nil {
			return err
		}
		c.destroyed = g
	}
	if m.Dropped == nil || m.Dropped.Number == c.dropped {
		return nil
	}
	err := c.destroySecret(ctx, m.Dropped.Number)
	if err == nil {
		c.dropped = m.Dropped.Number
	}
	return err
}

func (c *Controller) destroySecret(ctx context.Context, g peers.Generation) error {
	_, err := c.vault.Fetch(ctx, vaultSecret(g))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = c.vault.Destroy(ctx, vaultSecret(g))
	}
	if err == nil {
		failpoint.Reach(failpoint.SecretDestroyed)
		c.log.Info("destroyed the secret of a generation that is over", "generation", uint64(g))
	}
	return err
}

// reloadSecrets lets the feed derive the pre-shared keys of the generations in use.
func (c *Controller) reloadSecrets(ctx context.Context, inv *peers.Inventory) error {
	secrets, err := c.loadSecrets(ctx, &inv.Mesh)
	if err == nil {
		c.feed.SetSecrets(secrets)
	}
	return err
}
