package controller

import (
	"fmt"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// hintAnew is what helps a host whose identity is of no use any more.
const hintAnew = "to enrol with a new identity, on the host: warren leave --force, then warren enroll TOKEN"

// barred says why a host may not have a stream; nil for a host that may.
func barred(inv *peers.Inventory, id peers.HostID) *wire.Fault {
	h := inv.Hosts[id]
	switch {
	case h == nil && inv.Buried[id] != nil && inv.Buried[id].Heir != "":
		return wire.NewFault(403, wire.CodeRekeyed, fmt.Sprintf("host %q has a new identity; this one is given up",
			inv.Buried[id].Name), "the agent takes the new one by itself: systemctl restart warren-agent")
	case h == nil && inv.Buried[id] != nil:
		return wire.NewFault(403, "revoked", fmt.Sprintf("this identity was revoked when the host was named %q",
			inv.Buried[id].Name), hintAnew)
	case h == nil:
		return wire.NewFault(403, "not-enrolled", "the controller does not know this host",
			hintAnew)
	case h.State == peers.HostRevoked:
		return wire.NewFault(403, "revoked", fmt.Sprintf("host %q is revoked", h.Name),
			hintAnew)
	case h.State == peers.HostSuspended:
		return wire.NewFault(403, "suspended", fmt.Sprintf("host %q is suspended", h.Name),
			"ask an admin: warren host resume "+h.Name)
	}
	return nil
}
