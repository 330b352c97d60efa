package controller

import (
	"context"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// succeed gives a host the new identity that its agent has made, where an admin has asked for one. The
// session, which is that of the old one, ends with it.
func (c *Controller) succeed(ctx context.Context, id peers.HostID, heir *wire.Heir) error {
	host := c.Inventory().Hosts[id]
	if host == nil {
		return nil
	}
	inv, err := c.change(ctx, "host:"+host.Name, "", func(inv *peers.Inventory) (peers.Op, error) {
		// What came too late, or while a rotation runs, the agent says again.
		if host := inv.Hosts[id]; host == nil || host.Rekey == nil || len(inv.Mesh.Generations) != 1 {
			return nil, nil
		}
		return peers.SucceedHost{ID: id, Identity: heir.Identity, Signature: heir.Signature, Keys: heir.Keys}, nil
	})
	if err != nil {
		return err
	}
	if h := inv.Hosts[peers.HostID(heir.Identity.Fingerprint())]; h != nil {
		c.log.Info("host has a new identity", "host", h.Name, "id", string(h.ID), "before", string(id))
	}
	return nil
}
