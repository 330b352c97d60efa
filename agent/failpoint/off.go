//go:build !failpoint

package failpoint

import "github.com/warren-mesh/warren/peers"

// Reach is called at a point.
func Reach(string) {}

// Before is called before the steps of a plan are taken.
func Before(*peers.Plan, []peers.Step) {}

// After is called after the steps of a plan were taken.
func After(*peers.Plan, []peers.Step) {}

// Kept is called when it is on disk how far the host is.
func Kept(_, _ peers.Moved) {}
