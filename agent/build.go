package agent

import (
	"time"

	"github.com/warren-mesh/warren/peers"
)

// building is when this host begins with a generation.
type building struct {
	generation peers.Generation
	at         time.Time
}

// newestMade is the newest generation of a plan that this host has a key of. With the next one it has not begun: an
// interface that is made for that is not one that was lost.
func (l *loop) newestMade(p *peers.Plan) (g peers.Generation) {
	for _, in := range p.Interfaces {
		if _, has := l.me.keys[in.Generation]; has {
			g = max(g, in.Generation)
		}
	}
	return g
}

// early reports whether it is too early to make the key of a generation, see peers.Plan.BuildAfter. A host that has no
// key of the generation before has no traffic either, and does not wait.
func (l *loop) early(g peers.Generation, now time.Time) bool {
	p := &l.plan.want
	if _, has := l.me.keys[p.Leaving()]; !has || g != p.Newest() {
		return false
	}
	if l.building.generation != g {
		l.building = building{g, now.Add(p.BuildAfter())}
	}
	return now.Before(l.building.at)
}
