package agent

import (
	"context"
	"slices"
	"time"

	"github.com/warren-mesh/warren/agent/control"
	"github.com/warren-mesh/warren/peers"
)

// A waiting is a plan that was adopted and has its turn later.
type waiting struct {
	at      time.Time      // zero while none waits
	inForce peers.Revision // of the plan before it
}

// takeOver makes a plan of the controller the one to work towards, now or when it has its turn.
func (l *loop) takeOver(ctx context.Context, held *control.Held) {
	if l.plan != nil && !l.waiting.at.IsZero() && !samePlaces(l.plan.received.Interfaces, held.Plan.Interfaces) {
		l.turn(ctx, byPlan) // what is to be taken down may have the name of what is to be made
	}
	before := l.plan
	l.adopt(held.Plan, held.Head, true)
	if !l.later(before, time.Now()) {
		l.turn(ctx, byPlan)
	}
}

// later makes the plan that was just adopted wait, where it may, and reports whether it does. In a rotation all hosts hear
// in the same moments what each of them announces, and what is over. To take a turn every time was most of what the whole
// rotation cost, and traffic had to wait where hosts share a machine.
func (l *loop) later(before *planned, now time.Time) bool {
	p := l.plan
	if before == nil || !before.fresh || !p.fresh || !peers.CanWait(&before.received, &p.received) {
		return false
	}
	w := l.waiting
	if w.at.IsZero() {
		w = waiting{at: now.Add(healthEvery), inForce: before.want.Revision}
	}
	at := l.seen.tried.Add(healthMove)
	switch {
	case l.early(p.want.Newest(), now):
		at = l.building.at
	case l.newestMade(&p.want) > l.newestMade(&before.want):
		return false // it is its turn: others wait for the key
	case p.want.Leaving() == 0 || !slices.Equal(before.received.Moved.Retired, p.received.Moved.Retired):
		at = now.Add(p.want.ClearAfter())
	}
	w.at = earlier(w.at, at)
	l.waiting = w
	return true
}

// revision is that of the plan which is in force.
func (l *loop) revision() peers.Revision {
	switch {
	case !l.plan.applied:
		return 0
	case !l.waiting.at.IsZero():
		return l.waiting.inForce
	}
	return l.plan.want.Revision
}
