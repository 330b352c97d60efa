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
