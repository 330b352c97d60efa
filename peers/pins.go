package peers

import (
	"fmt"
	"maps"
	"time"

	"github.com/warren-mesh/warren/peers/key"
)

// pinShown is for how long a host tells that the identity behind a name has changed.
const pinShown = 24 * time.Hour

// Pins remember, by host name, which identity a host has met under it. A WireGuard key cannot be swapped
// under an identity, which has signed it; a controller that has been taken over could only put another
// identity under a name that people trust. That is also what an honest one does when a machine is set
// up anew, so it is not refused but told.
type Pins map[string]Pin

// A Pin is the identity behind a name, since when, and the one before it.
type Pin struct {
	Identity key.Identity `json:"identity"`
	Since    time.Time    `json:"since"`
	Before   key.Identity `json:"before"` // zero where there was none, or where that one has signed this one
}

// Note gives the pins with those of a plan's peers. Names that are gone are kept: removing a host and
// adding another under its name is no way round.
// An identity that the known one has signed, or that follows from it one by one, is not another.
func (p Pins) Note(mesh string, peers []Peer, now time.Time) (pins Pins, isNew bool) {
	out, owned := p, false
	for i := range peers {
		name, identity := peers[i].Name, peers[i].Identity
		known := out[name]
		if known.Identity == identity {
			continue
		}
		if !owned {
			out, owned = make(Pins, len(p)+len(peers)), true
			maps.Copy(out, p)
		}
		pin := Pin{Identity: identity, Since: now, Before: known.Identity}
		if follows(mesh, known.Identity, identity, peers[i].Former) {
			pin.Before = key.Identity{}
		}
		out[name] = pin
	}
	return out, owned
}

// Problems tells which of a plan's peers had another identity until a short time ago.
func (p Pins) Problems(peers []Peer, now time.Time) Problems {
	var problems Problems
	for i := range peers {
		pin := p[peers[i].Name]
		if pin.Before.IsZero() || now.Sub(pin.Since) >= pinShown {
			continue
		}
		problems.addf("peer-identity-changed", "peer/"+peers[i].Name,
			fmt.Sprintf("if nobody has set it up anew: warren host revoke %s; this note ends after a day", peers[i].Name),
			"host %s has another identity than before, since %s", peers[i].Name, pin.Since.UTC().Format(time.RFC3339))
	}
	return problems
}
