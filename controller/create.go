package controller

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/warren-mesh/warren/controller/feed"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// Names in the vault.
const vaultIdentity = "identity"

// vaultSecret is where the secret of a generation is; destroying it destroys all its pre-shared keys.
func vaultSecret(g peers.Generation) string { return fmt.Sprintf("generation/%d", g) }

// A StartError says why a controller does not start, and what helps.
type StartError struct {
	what, hint string
}

// Error says what is wrong.
func (e *StartError) Error() string { return e.what }

// Hint says what helps.
func (e *StartError) Hint() string { return e.hint }

// create writes the first entry of the ledger. The identity and the first secret are in the vault
// before it, so that a crash in between leaves nothing that is not used later.
func (c *Controller) create(ctx context.Context, empty *peers.Inventory) (*peers.Inventory, error) {
	op := peers.CreateMesh{ID: randomName(16), Name: c.settings.Name, Overlay: c.settings.Overlay, Overlay6: randomULA()}
	if op.Name == "" {
		op.Name = DefaultName
	}
	if !op.Overlay.IsValid() {
		op.Overlay = DefaultOverlay()
	}
	next, entry, err := empty.Record(peers.Change{At: c.now(), By: "controller", Why: "first start", Op: op})
	if problems, ok := errors.AsType[peers.Problems](err); ok {
		return nil, &StartError{what: problems[0].Message, hint: problems[0].Hint}
	} else if err != nil {
		return nil, err
	}
	if err := c.prepareVault(ctx); err != nil {
		return nil, err
	}
	switch err := c.ledger.Append(ctx, entry); {
	case errors.Is(err, peers.ErrConflict): // another controller was faster
		return c.ledger.Load(ctx)
	case err != nil:
		return nil, fmt.Errorf("create the mesh: %w", err)
	}
	c.log.Info("mesh created", "mesh", op.Name, "overlay", op.Overlay.String(), "overlay6", op.Overlay6.String())
	return next, nil
}

// prepareVault makes the identity and the secret of the first generation, unless an earlier start got
// as far as that, or that of another controller.
func (c *Controller) prepareVault(ctx context.Context) error {
	err := c.fillVault(ctx)
	for tries := 0; errors.Is(err, fs.ErrExist) && tries < changeTries; tries++ {
		err = c.fillVault(ctx) // another was faster with one of them
	}
	return err
}

func (c *Controller) fillVault(ctx context.Context) error {
	values := map[string][]byte{}
	for _, name := range []string{vaultIdentity, vaultSecret(1)} {
		_, err := c.vault.Fetch(ctx, name)
		if err == nil {
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read the vault: %w", err)
		}
		k, err := key.NewSecret(rand.Reader)
		if err != nil {
			return fmt.Errorf("make a key: %v", err)
		}
		values[name] = []byte(k.Expose())
	}
	if len(values) == 0 {
		return nil
	}
	if err := c.vault.Create(ctx, values); err != nil {
		return fmt.Errorf("keep the controller's identity: %w", err)
	}
	return nil
}

// agree holds the settings against a mesh that exists.
func (s *Settings) agree(m *peers.Mesh) error {
	if s.Name != "" && s.Name != m.Name {
		return &StartError{
			what: fmt.Sprintf("this controller looks after the mesh %q, not %q", m.Name, s.Name),
			hint: "leave --name away, or start another controller with a --data-dir of its own",
		}
	}
	if s.Overlay.IsValid() && s.Overlay != m.Overlay {
		return &StartError{
			what: fmt.Sprintf("the mesh %q has the overlay %v, which cannot become %v: its hosts have addresses",
				m.Name, m.Overlay, s.Overlay),
			hint: "leave --overlay away, or start another controller with a --data-dir of its own",
		}
	}
	return nil
}

// loadSecrets reads the secrets of all generations in use. Without one the pairs of that generation could
// not be told their keys, so it is missing as loudly as the identity.
func (c *Controller) loadSecrets(ctx context.Context, m *peers.Mesh) (feed.Secrets, error) {
	secrets := feed.Secrets{}
	for _, mark := range m.Generations {
		raw, err := c.vault.Fetch(ctx, vaultSecret(mark.Number))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &StartError{
				what: fmt.Sprintf("the secret of generation %d, from which pre-shared keys are made, is missing", mark.Number),
				hint: "restore the data directory from a backup",
			}
		}
		if err != nil {
			return nil, fmt.Errorf("read the secret of generation %d: %w", mark.Number, err)
		}
		if secrets[mark.Number], err = key.ParseSecret(string(raw)); err != nil {
			return nil, fmt.Errorf("generation %d: %v", mark.Number, err)
		}
	}
	return secrets, nil
}

// randomULA is a /64 of a unique local prefix with 40 random bits (RFC 4193 §3.2) and subnet 0.
func randomULA() netip.Prefix {
	b := [16]byte{0xfd}
	_, _ = rand.Read(b[1:6]) // never fails, see its documentation
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

// randomName is a random name of n letters and digits.
func randomName(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see its documentation
	return strings.ToLower(base32.StdEncoding.EncodeToString(b))[:n]
}
