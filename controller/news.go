package controller

import (
	"context"
	"slices"

	"github.com/warren-mesh/warren/controller/api"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// learn takes in what a hello says of the host that the inventory does not know yet. It costs nothing
// where it says nothing new, which is what a thousand agents do that come back at once.
func (c *Controller) learn(ctx context.Context, who api.Caller, h *wire.Hello) error {
	id := peers.HostID(who.Identity.Fingerprint())
	inv := c.Inventory()
	host := inv.Hosts[id]
	if host == nil {
		return barred(inv, id)
	}
	what := func(inv *peers.Inventory) (peers.Op, error) {
		host := inv.Hosts[id]
		if host == nil || host.State == peers.HostRevoked {
			return nil, barred(inv, id)
		}
		return news(inv, host, who, h), nil
	}
	if op, err := what(inv); err != nil || op == nil {
		return err
	}
	_, err := c.change(ctx, "host:"+host.Name, "", what)
	return err
}

// news is the change that a hello asks for; nil for none.
func news(inv *peers.Inventory, host *peers.Host, who api.Caller, h *wire.Hello) peers.Op {
	op := peers.UpdateHost{ID: host.ID, Keys: newKeys(inv, host, h.Keys)}
	port := host.Port
	if h.Port != 0 && h.Port != host.Port {
		op.Port, port = &h.Port, h.Port
	}
	at := endpoints(&inv.Mesh, h.Endpoints, host.Endpoints, who.From, port)
	if !slices.Equal(at, host.Endpoints) {
		op.Endpoints = append([]peers.Endpoint{}, at...)
	}
	if op.Port == nil && op.Endpoints == nil && op.Keys == nil {
		return nil
	}
	return op
}

// newKeys are the keys that the inventory does not have, of generations in use.
func newKeys(inv *peers.Inventory, host *peers.Host, keys []peers.HostKey) []peers.HostKey {
	var out []peers.HostKey
	for _, k := range keys {
		known := slices.ContainsFunc(host.Keys, func(old peers.HostKey) bool {
			return old.Generation == k.Generation && old.Public == k.Public
		})
		if !known && inv.Mesh.HasGeneration(k.Generation) {
			out = append(out, k)
		}
	}
	return out
}

// addKeys takes in keys of a host that are new.
func (c *Controller) addKeys(ctx context.Context, id peers.HostID, keys []peers.HostKey) error {
	host := c.Inventory().Hosts[id]
	if host == nil {
		return nil
	}
	_, err := c.change(ctx, "host:"+host.Name, "", func(inv *peers.Inventory) (peers.Op, error) {
		host := inv.Hosts[id]
		if host == nil {
			return nil, nil
		}
		fresh := newKeys(inv, host, keys)
		if len(fresh) == 0 {
			return nil, nil
		}
		return peers.UpdateHost{ID: id, Keys: fresh}, nil
	})
	return err
}
