package controller

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/warren-mesh/warren/controller/api"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// CheckToken says what a token would lead to, without using it.
func (c *Controller) CheckToken(who api.Caller, check wire.EnrollCheck) (wire.EnrollOffer, error) {
	offer, err := c.offer(who, check)
	return offer, c.slowDown(who.From.Addr(), err)
}

// offer answers a check. A host that has come with the token before is not asked whether the token is
// still good: its enrolment is done, only the answer was lost.
func (c *Controller) offer(who api.Caller, check wire.EnrollCheck) (wire.EnrollOffer, error) {
	inv, now := c.Inventory(), time.Now()
	if err := speaks(check.Protocol); err != nil {
		return wire.EnrollOffer{}, err
	}
	t, err := tokenOf(inv, check.TokenID, check.Secret)
	if err != nil {
		return wire.EnrollOffer{}, err
	}
	if h, err := enrolledWith(inv, who, t); err != nil {
		return wire.EnrollOffer{}, err
	} else if h == nil {
		if err := admits(inv, t, check.Name, now); err != nil {
			return wire.EnrollOffer{}, err
		}
	}
	offer := wire.EnrollOffer{
		Protocol: wire.Protocol, Time: now.UTC(), MeshID: inv.Mesh.ID, Mesh: inv.Mesh.Name,
		Overlay: inv.Mesh.Overlay, Overlay6: inv.Mesh.Overlay6, Site: t.Site, Name: t.Name,
	}
	for _, mark := range inv.Mesh.Generations {
		offer.Generations = append(offer.Generations, mark.Number)
	}
	return offer, nil
}

// Enroll admits the host that holds the caller's identity. The same host with the same token gets the
// same answer again, so that a lost reply can be asked for once more.
func (c *Controller) Enroll(ctx context.Context, who api.Caller, r wire.EnrollRequest) (wire.Enrolled, error) {
	h, err := c.enroll(ctx, who, r)
	if err != nil {
		return wire.Enrolled{}, c.slowDown(who.From.Addr(), err)
	}
	return wire.Enrolled{
		ID: h.ID, Name: h.Name, Site: h.Site, Address: h.Address, Address6: h.Address6, State: h.State,
		Controllers: c.settings.Advertise,
	}, nil
}

// enroll makes the change. The token is looked at within it, so of two who race for the last use of a
// token exactly one joins, also where each talks to another controller.
func (c *Controller) enroll(ctx context.Context, who api.Caller, r wire.EnrollRequest) (*peers.Host, error) {
	if err := speaks(r.Protocol); err != nil {
		return nil, err
	}
	id := peers.HostID(who.Identity.Fingerprint())
	again := false
	inv, err := c.change(ctx, "host:"+r.Name, "", func(inv *peers.Inventory) (peers.Op, error) {
		t, err := tokenOf(inv, r.TokenID, r.Secret)
		if err != nil {
			return nil, err
		}
		h, err := enrolledWith(inv, who, t)
		if again = h != nil; again || err != nil {
			return nil, err
		}
		return peers.EnrollHost{
			Token: t.ID, Identity: who.Identity, Name: r.Name, Port: r.Port, Keys: r.Keys,
			Endpoints: endpoints(&inv.Mesh, r.Endpoints, nil, who.From, r.Port),
		}, nil
	})
	if err != nil {
		return nil, err
	}
	h := inv.Hosts[id]
	if !again {
		c.log.Info("host enrolled", "host", h.Name, "id", string(h.ID), "site", h.Site, "state", string(h.State))
	}
	return h, nil
}

// speaks holds the version of an agent against the versions that this controller serves.
func speaks(protocol int) error {
	switch {
	case protocol < wire.OldestProtocol:
		return wire.NewFault(400, "protocol", fmt.Sprintf("the agent speaks version %d of the protocol, the oldest that "+
			"this controller serves is %d", protocol, wire.OldestProtocol), "upgrade warren-agent on this host")
	case protocol > wire.Protocol:
		return wire.NewFault(400, "protocol", fmt.Sprintf("the agent speaks version %d of the protocol, this controller "+
			"only %d", protocol, wire.Protocol), "upgrade the controller first, then the hosts")
	}
	return nil
}

// tokenOf finds a token by its secret. An id that does not exist and a secret that is wrong are the same
// to the caller, in words and in time.
func tokenOf(inv *peers.Inventory, id string, secret []byte) (*peers.Token, error) {
	t := inv.Tokens[id]
	var hash peers.Hash
	if t != nil {
		hash = t.Hash
	}
	if !wire.MatchSecret(secret, hash) || t == nil {
		return nil, wire.NewFault(403, "token-unknown", "the controller does not know this token",
			"was it copied whole, and is it of this mesh? ask an admin for a new one: warren token create")
	}
	return t, nil
}

// enrolledWith finds the host that has come with the token before. A host that was barred since then
// does not come back.
func enrolledWith(inv *peers.Inventory, who api.Caller, t *peers.Token) (*peers.Host, error) {
	id := peers.HostID(who.Identity.Fingerprint())
	h := inv.Hosts[id]
	if h != nil || inv.Buried[id] != nil {
		if fault := barred(inv, id); fault != nil {
			return nil, fault
		}
	}
	if h == nil || h.Token != t.ID {
		return nil, nil
	}
	return h, nil
}

// admits says beforehand what would keep a host from enrolling.
func admits(inv *peers.Inventory, t *peers.Token, name string, now time.Time) error {
	if name == "" {
		name = t.Name
	}
	if err := t.Valid(name, now); err != nil {
		return err
	}
	if h, taken := inv.HostNamed(name); taken {
		return wire.NewFault(409, "name-taken", fmt.Sprintf("there is a host %q already, it is %s", h.Name, h.State),
			"choose another with --name, or remove the old host: warren host rm "+h.Name)
	}
	return nil
}

// slowDown counts what callers did wrong, not what the controller did, and tells those who do it too
// often nothing but to wait. Who does it right is never in the way of those, even from the same address.
func (c *Controller) slowDown(from netip.Addr, err error) error {
	fault, isFault := errors.AsType[*wire.Fault](err)
	_, refused := errors.AsType[peers.Problems](err)
	if !refused && (!isFault || fault.Status >= 500) {
		return err
	}
	now := time.Now()
	wait := c.limits.attempts.Wait(from, now)
	if wait == 0 {
		c.limits.attempts.Failed(from, now)
		return err
	}
	f := wire.NewFault(429, "too-many-attempts", "too many attempts from this address have failed", "wait, then try again")
	f.RetryAfter = int(math.Ceil(wait.Seconds()))
	return f
}
