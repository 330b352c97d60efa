//go:build failpoint

package failpoint

import (
	"os"
	"syscall"

	"github.com/warren-mesh/warren/peers"
)

// Reach kills the process at the point that WARREN_FAILPOINT names.
func Reach(point string) {
	if os.Getenv("WARREN_FAILPOINT") == point {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	}
}

// Before is called before the steps of a plan are taken.
func Before(p *peers.Plan, steps []peers.Step) { each(p, steps, Proven, RetireHeard, EndHeard) }

// After is called after the steps of a plan were taken.
func After(p *peers.Plan, steps []peers.Step) {
	for _, s := range steps {
		switch s := s.(type) {
		case peers.AddLink:
			Reach(LinkBuilt)
		case peers.SetPeer:
			if s.New && p.Leaving() != 0 && s.Link == p.Newest().Link() {
				Reach(PeersSet)
			}
		}
	}
	each(p, steps, Switched, PeerRetired, LinkGone)
}

// each reaches the points for traffic that moves, for peers that go, and for interfaces that go.
func each(p *peers.Plan, steps []peers.Step, moves, retires, ends string) {
	for _, s := range steps {
		switch s := s.(type) {
		case peers.SetRoute:
			if p.Leaving() != 0 && s.Route.Link == p.Newest().Link() {
				Reach(moves)
			}
		case peers.DelPeer:
			if p.Leaving() != 0 && s.Link == p.Leaving().Link() {
				Reach(retires)
			}
		case peers.DelLink:
			Reach(ends)
		}
	}
}

// Kept is called when it is on disk how far the host is.
func Kept(before, now peers.Moved) {
	if len(now.Routed) > 0 && !now.Equal(before) {
		Reach(SwitchKept)
	}
}
