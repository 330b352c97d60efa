package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

const defaultTTL = time.Hour

// CreateToken makes an enrolment token. The string to paste is only in what this returns.
func (c *Controller) CreateToken(ctx context.Context, by string, order wire.TokenOrder) (wire.TokenView, error) {
	if len(c.settings.Advertise) == 0 {
		return wire.TokenView{}, wire.NewFault(409, "no-address",
			"the controller knows no address at which hosts can reach it",
			"start it with --advertise HOST:PORT")
	}
	t := wire.Token{
		Controllers: c.settings.Advertise, ID: randomName(10),
	}
	_, _ = rand.Read(t.Secret[:]) // never fails, see its documentation
	op := peers.CreateToken{
		ID: t.ID, Hash: t.Hash(), Site: order.Site, Name: order.Name, Uses: order.Uses, Approve: order.Approve,
	}
	if op.Uses == 0 {
		op.Uses = 1
	}
	ttl := time.Duration(order.TTL) * time.Second
	if ttl == 0 {
		ttl = defaultTTL
	}
	inv, err := c.change(ctx, by, "", func(*peers.Inventory) (peers.Op, error) {
		t.Pin = c.Identity().Identity() // which changes change
		op.Expires = time.Now().Add(ttl).UTC().Truncate(time.Second)
		return op, nil
	})
	if err != nil {
		return wire.TokenView{}, err
	}
	view := tokenView(inv.Tokens[t.ID], time.Now())
	view.Token = t.Encode()
	return view, nil
}

// Tokens are all enrolment tokens, the newest first.
func (c *Controller) Tokens() []wire.TokenView {
	now := time.Now()
	tokens := slices.SortedFunc(maps.Values(c.Inventory().Tokens), func(a, b *peers.Token) int {
		return b.Created.Compare(a.Created)
	})
	views := make([]wire.TokenView, 0, len(tokens))
	for _, t := range tokens {
		views = append(views, tokenView(t, now))
	}
	return views
}

// RevokeToken makes a token useless.
func (c *Controller) RevokeToken(ctx context.Context, by, id string) error {
	_, err := c.change(ctx, by, "", func(*peers.Inventory) (peers.Op, error) {
		return peers.RevokeToken{ID: id}, nil
	})
	return err
}

func tokenView(t *peers.Token, now time.Time) wire.TokenView {
	return wire.TokenView{
		ID: t.ID, Site: t.Site, Name: t.Name, Created: t.Created, Expires: t.Expires,
		Uses: t.Uses, Used: t.Used, Approve: t.Approve, State: tokenState(t, now),
	}
}

// tokenState says in one word whether the token can still be used. The rules are those of the token.
func tokenState(t *peers.Token, now time.Time) string {
	problems, _ := errors.AsType[peers.Problems](t.Valid(t.Name, now))
	for _, state := range []string{"revoked", "expired", "used-up"} {
		if problems.Has("token-" + state) {
			return state
		}
	}
	return "valid"
}
