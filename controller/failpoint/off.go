//go:build !failpoint

package failpoint

import "github.com/warren-mesh/warren/peers"

// Reach is called at a point.
func Reach(string) {}

// Recorded is called when the ledger has an entry.
func Recorded(peers.Entry) {}

// Published is called when hosts can hear of an entry.
func Published(peers.Entry) {}
