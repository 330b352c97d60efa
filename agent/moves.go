package agent

import (
	"slices"

	"github.com/warren-mesh/warren/peers"
)

// noteMoves notes which peers' traffic has moved to the newest generation while an older one is being left.
// It is told to the controller when it is on disk, because the pair may leave the older one as soon as both
// ends have told it: after a restart this host must not go back to it.
func (l *loop) noteMoves(want peers.Plan) {
	if want.Leaving() == 0 {
		return
	}
	newest := want.Newest()
	var moved []peers.HostID
	for id, g := range peers.Ways(l.seen.state, want) {
		if g == newest && !want.Moved.HasRouted(id) {
			moved = append(moved, id)
		}
	}
	if len(moved) == 0 {
		return
	}
	p := l.plan
	p.received = p.received.Route(moved...)
	p.want.Moved = p.received.Moved
	l.saver.offer(p.received, p.head, nil)
	l.Log.Info("traffic has moved to the next generation", "generation", uint64(newest), "peers", len(moved))
}

// moving reports whether there is traffic to move: a peer has answered on the newest generation, and its routes still lead
// to the one before. Where the answer came while steps were taken, the next turn moves them.
func (l *loop) moving() bool {
	p := &l.plan.want
	if p.Leaving() == 0 {
		return false
	}
	in := &p.Interfaces[len(p.Interfaces)-1]
	if in.Held {
		return false
	}
	have := byKey(&l.seen.state, in.Name)
	return slices.ContainsFunc(p.Peers, func(peer peers.Peer) bool {
		k, _ := peer.Key(in.Generation)
		found := have[k]
		return found != nil && !found.LastHandshake.IsZero() && !p.Moved.HasRouted(peer.ID)
	})
}

// holds is the revision of the plan on disk in which the newer generation is held, where none of this host's traffic takes
// that: 0 otherwise. After a restart none will either.
func (l *loop) holds() peers.Revision {
	if l.plan == nil || !l.plan.want.Holds(l.seen.state) || len(l.kept.Routed)+len(l.kept.Retired) > 0 {
		return 0
	}
	return l.keptHeld
}

// routed reports whether all traffic to a peer takes the generation of an interface. Of the newest one in
// a rotation it is said only when that is on disk.
func (l *loop) routed(in *peers.Interface, id peers.HostID, at place) bool {
	p := &l.plan.want
	if g := p.Leaving(); g != 0 && in.Generation == p.Newest() {
		return l.kept.From == g && l.kept.HasRouted(id)
	}
	return at.routed && at.in == in
}
