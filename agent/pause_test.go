package agent

import (
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// moving is a host whose one peer has answered on the newer of two generations, and all is well.
func moving(now time.Time) *loop {
	next := peers.HostKey{Generation: 2, Public: key.Public{2}}
	l := &loop{plan: &planned{want: peers.Plan{
		Interfaces: []peers.Interface{{Generation: 1, Name: "wrn1"}, {Generation: 2, Name: "wrn0"}},
		Peers:      []peers.Peer{{ID: "warehouse", Keys: []peers.HostKey{next}}},
	}}}
	l.seen.state.Links = []peers.Link{{Name: "wrn0", Peers: []peers.LinkPeer{{Key: next.Public, LastHandshake: now}}}}
	l.health.answering, l.health.eager = true, now
	return l
}

// TestProvenTrafficIsMovedSoon: where a peer has answered while a turn was taken, the next turn, which moves its routes, is
// soon, although all is well.
func TestProvenTrafficIsMovedSoon(t *testing.T) {
	now := time.Now()
	for what, c := range map[string]struct {
		edit func(l *loop)
		want time.Duration
	}{
		"it has answered":             {func(*loop) {}, healthMove},
		"it has not answered":         {func(l *loop) { l.seen.state.Links[0].Peers[0].LastHandshake = time.Time{} }, healthEvery},
		"its traffic has moved":       {func(l *loop) { l.plan.want = l.plan.want.Route("warehouse") }, healthEvery},
		"no traffic moves there":      {func(l *loop) { l.plan.want.Interfaces[1].Held = true }, healthEvery},
		"no rotation runs":            {func(l *loop) { l.plan.want.Interfaces = l.plan.want.Interfaces[1:] }, healthEvery},
		"the routes cannot be moved":  {func(l *loop) { l.health.eager = now.Add(-time.Minute) }, healthEvery},
		"nor for the last short time": {func(l *loop) { l.health.eager, l.health.hopeful = now.Add(-time.Minute), now }, healthSoon},
	} {
		l := moving(now)
		c.edit(l)
		if got := l.healthPause(now); got != c.want {
			t.Errorf("%s: the next look is after %v, want %v", what, got, c.want)
		}
	}
}

// TestWaitingPlanIsNotInForce: a plan that waits for its turn is not told as if it were in force.
func TestWaitingPlanIsNotInForce(t *testing.T) {
	l := moving(time.Now())
	l.plan.want.Revision = 8
	if got := l.revision(); got != 0 {
		t.Errorf("no plan was applied, and revision %d is told", got)
	}
	l.plan.applied = true
	if got := l.revision(); got != 8 {
		t.Errorf("revision %d is told, and 8 is in force", got)
	}
	l.waiting = waiting{at: time.Now(), inForce: 7}
	if got := l.revision(); got != 7 {
		t.Errorf("revision %d is told, and 8 waits", got)
	}
}
