package controller

import (
	"fmt"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// barred says why a host may not have a stream; nil for a host that may.
func barred(inv *peers.Inventory, id peers.HostID) *wire.Fault {
	h := inv.Hosts[id]
	switch {
	case h == nil && inv.Buried[id] != nil:
		return wire.NewFault(403, "revoked", fmt.Sprintf("this identity was revoked when the host was named %q",
			inv.Buried[id].Name), "enrol with a new identity: warren leave --force, then warren enroll TOKEN")
	case h == nil:
		return wire.NewFault(403, "not-enrolled", "the controller does not know this host",
			"it may have been removed; enrol it anew: warren leave --force, then warren enroll TOKEN")
	case h.State == peers.HostRevoked:
		return wire.NewFault(403, "revoked", fmt.Sprintf("host %q is revoked", h.Name),
			"enrol with a new identity: warren leave --force, then warren enroll TOKEN")
	case h.State == peers.HostSuspended:
		return wire.NewFault(403, "suspended", fmt.Sprintf("host %q is suspended", h.Name),
			"ask an admin: warren host resume "+h.Name)
	}
	return nil
}
