package controller

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/warren-mesh/warren/controller/api"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Hosts are all enrolled hosts, by name.
func (c *Controller) Hosts() []wire.HostView {
	hosts := c.Inventory().SortedHosts()
	views := make([]wire.HostView, 0, len(hosts))
	for _, h := range hosts {
		views = append(views, c.hostView(h))
	}
	return views
}

// Host is one host, by name or id, with how it sees its peers.
func (c *Controller) Host(name string) (wire.HostView, error) {
	h, err := findHost(c.Inventory(), name)
	if err != nil {
		return wire.HostView{}, err
	}
	v := c.hostView(h)
	v.Peers = c.book.Peers(h.ID)
	return v, nil
}

// findHost finds a host by its name, or else by its id. A name may look like an id; names win.
func findHost(inv *peers.Inventory, name string) (*peers.Host, error) {
	if h, ok := inv.HostNamed(name); ok {
		return h, nil
	}
	if h := inv.Hosts[peers.HostID(name)]; h != nil {
		return h, nil
	}
	return nil, wire.NewFault(404, "host-unknown", fmt.Sprintf("there is no host %.80q", name), "warren host ls")
}

// hostView puts together what the inventory and what the last reports say of a host.
func (c *Controller) hostView(h *peers.Host) wire.HostView {
	page := c.book.Of(h.ID)
	v := wire.HostView{
		Name: h.Name, ID: h.ID, Site: h.Site, Address: h.Address, Address6: h.Address6, State: h.State,
		Online: c.sessions.online(h.ID), Revision: page.Revision, Generation: page.Generation,
		Backend: page.Backend, Version: page.Version, Enrolled: h.Enrolled, Identity: h.Identity,
		Endpoints: append([]peers.Endpoint{}, h.Endpoints...), Keys: append([]peers.HostKey{}, h.Keys...),
		Problems: append([]peers.Problem{}, page.Problems...),
	}
	v.Rekey, v.Draining = h.Rekey, h.Draining
	v.Gateway = page.Gateway
	for _, mark := range c.Inventory().Mesh.Generations {
		if !h.Key(mark.Number).IsZero() {
			v.KeySince = &mark.Started
		}
	}
	for _, before := range h.Former {
		v.Former = append(v.Former, before.From)
	}
	v.Labels = map[string]string{}
	maps.Copy(v.Labels, h.Labels)
	if c.Inventory().Policy != nil && h.State == peers.HostActive && c.ignoresPolicy(h) {
		v.Problems = append(v.Problems, policyProblem(h))
	}
	if v.Online {
		page.Seen = time.Now().UTC().Truncate(time.Second)
	}
	if !page.Seen.IsZero() {
		v.LastSeen = &page.Seen
	}
	return v
}

// SetHost approves, suspends, resumes, revokes or drains a host, or asks it for a new identity.
func (c *Controller) SetHost(ctx context.Context, by string, order api.HostOrder) (wire.HostView, error) {
	var id peers.HostID
	inv, err := c.change(ctx, by, order.Why, func(inv *peers.Inventory) (peers.Op, error) {
		h, err := findHost(inv, order.Name)
		if err != nil {
			return nil, err
		}
		id = h.ID
		switch order.Action {
		case wire.ActionRekey:
			return peers.OrderRekey{ID: h.ID}, nil
		case wire.ActionDrain, wire.ActionUndrain:
			return peers.DrainHost{ID: h.ID, Drain: order.Action == wire.ActionDrain}, nil
		}
		state, err := nextState(h, order.Action)
		return peers.SetHostState{ID: h.ID, State: state}, err
	})
	if err != nil {
		return wire.HostView{}, err
	}
	return c.hostView(inv.Hosts[id]), nil
}

// nextState is where an action leads. What the states allow is for peers to say, but not what the words
// of the actions mean: only a pending host is approved, only a suspended one is resumed.
func nextState(h *peers.Host, action string) (peers.HostState, error) {
	switch {
	case action == wire.ActionSuspend:
		return peers.HostSuspended, nil
	case action == wire.ActionRevoke:
		return peers.HostRevoked, nil
	case h.State == peers.HostActive, h.State == peers.HostRevoked:
		return peers.HostActive, nil // which peers refuses with the reason
	case action == wire.ActionApprove && h.State == peers.HostSuspended:
		return "", wire.NewFault(409, "state-order", fmt.Sprintf("host %q is suspended, not pending", h.Name),
			"warren host resume "+h.Name)
	case action == wire.ActionResume && h.State == peers.HostPending:
		return "", wire.NewFault(409, "state-order", fmt.Sprintf("host %q is pending, not suspended", h.Name),
			"warren host approve "+h.Name)
	}
	return peers.HostActive, nil
}

// RemoveHost takes a host out of the inventory.
func (c *Controller) RemoveHost(ctx context.Context, by, name string) error {
	_, err := c.change(ctx, by, "", func(inv *peers.Inventory) (peers.Op, error) {
		h, err := findHost(inv, name)
		if err != nil {
			return nil, err
		}
		return peers.RemoveHost{ID: h.ID}, nil
	})
	return err
}
