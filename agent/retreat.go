package agent

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
)

// Times of a retreat. From a plan that cuts the host off until it is back at the controller it takes less than a
// minute: once around retreatAfter, and a new connection.
const (
	reachEvery    = 2 * time.Second
	reachPatience = 8 * time.Second
	retreatAfter  = 15 * time.Second
	restFirst     = time.Minute
	restMost      = time.Hour
)

// A phase says which sites are in force.
type phase int

const (
	settled phase = iota // there is nothing to go back to
	trying               // new ones, with which the host has not reached the controller yet
	former               // those from before
	resting              // the new ones: with those from before it did not reach the controller either
)

// A retreat is the host's own way back from a plan that cuts it off from the controller. Only networks of other
// sites can do that: routes into the tunnel and the leak guard cover what lies in them. So only they are taken
// from the plan before, and never hosts, keys, generations or what the policy lets in: what was taken away for a
// reason does not come back. That the controller answers again is the proof that they were the cause; where it
// does not, it is simply away, and the newer ones stay.
type retreat struct {
	store.Retreat
	phase   phase
	round   int       // counts phases, so that late answers are told
	since   time.Time // of the phase
	asked   time.Time
	asking  bool
	rest    time.Duration
	results chan reaching
}

// A reaching is how an attempt to reach the controller went.
type reaching struct {
	round int
	err   error
}

func (r *retreat) enter(p phase) {
	r.phase, r.since, r.asked = p, time.Now(), time.Time{}
	r.round++
}

func (r *retreat) forget() {
	r.Retreat = store.Retreat{}
	r.enter(settled)
}

// watch gives a plan the networks that shall be in force where the controller says those that it has.
func (l *loop) watch(p *peers.Plan) {
	r := &l.retreat
	says := store.NetworksOf(p)
	if r.phase != settled && says.Equal(r.Tried) {
		if r.phase == former {
			r.Before.Into(p)
		}
		return
	}
	var before store.Networks
	switch {
	case r.phase != settled: // nothing was proven of those that were tried
		before = r.Before
	case l.plan != nil:
		before = store.NetworksOf(&l.plan.received)
	}
	if says.Equal(before) {
		l.settle()
		return
	}
	r.Retreat, r.rest = store.Retreat{Before: before, Tried: says}, restFirst
	r.enter(trying)
	l.trouble.set(fromRetreat)
	l.keepRetreat()
}

// settle forgets the way back.
func (l *loop) settle() {
	if l.retreat.phase == settled {
		return
	}
	l.retreat.forget()
	l.trouble.set(fromRetreat)
	if err := l.Store.DropRetreat(); err != nil {
		l.Log.Warn("a way back that is not needed any more is still on disk", "error", err)
	}
}

func (l *loop) keepRetreat() {
	if err := l.Store.PutRetreat(l.retreat.Retreat); err != nil {
		l.Log.Warn("the way back from new sites cannot be kept", "error", err)
	}
}

// restoreRetreat goes on where the last agent was.
func (l *loop) restoreRetreat(plan *peers.Plan) {
	kept, err := l.Store.Retreat()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.Log.Warn("the way back from new sites is lost", "error", err)
		}
		return
	}
	l.retreat.Retreat, l.retreat.rest = kept, restFirst
	if kept.Refused || store.NetworksOf(plan).Equal(kept.Before) {
		l.retreat.enter(former)
	} else {
		l.retreat.enter(trying)
	}
	l.withdrawn()
}

// withdrawn shows that sites are left out.
func (l *loop) withdrawn() {
	if !l.retreat.Refused {
		return
	}
	l.trouble.set(fromRetreat, peers.Problem{
		Code: codeWithdrawn, At: "plan/sites",
		Message: "with the present networks of sites this host did not reach the controller: it keeps those from before",
		Hint:    "no network may cover the controller's address where hosts reach it without a tunnel: warren site ls",
	})
}

// reach asks, in the background, whether the controller can be reached, while that is not certain.
func (l *loop) reach(ctx context.Context) {
	r := &l.retreat
	now := time.Now()
	every := reachEvery
	if r.phase == resting {
		every = retreatAfter
	}
	if r.phase == settled || r.Refused || r.asking || l.link.client == nil || now.Sub(r.asked) < every {
		return
	}
	r.asking, r.asked = true, now
	client, addresses, round := l.link.client, l.link.view().Controllers, r.round
	l.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, reachPatience)
		defer cancel()
		err := client.Reach(ctx, addresses)
		select {
		case r.results <- reaching{round, err}:
		case <-l.agent.board.closed:
		}
	})
}

// reached takes over how that went.
func (l *loop) reached(ctx context.Context, got reaching) {
	r := &l.retreat
	r.asking = false
	if got.round != r.round {
		return
	}
	since := time.Since(r.since)
	switch {
	case got.err == nil && r.phase == former:
		r.Refused = true
		l.Log.Warn("with the new networks of sites the controller was out of reach: those from before stay in force")
		l.keepRetreat()
		l.withdrawn()
	case got.err == nil:
		l.settle()
	case since < retreatAfter:
		return
	case r.phase == trying && !l.suspected():
		l.settle() // whatever keeps the controller away, it is not this
	case r.phase == trying, r.phase == resting && since >= r.rest && l.covered():
		l.Log.Warn("no controller is reached with the new networks of sites: trying those from before", "error", got.err)
		l.force(ctx, former)
	case r.phase == former:
		l.Log.Info("no controller is reached with the former networks of sites either: going on with the new ones")
		r.rest = min(2*r.rest, restMost)
		l.force(ctx, resting)
		if !l.covered() {
			l.settle()
		}
	}
	l.publish()
}

// force puts the sites of a phase in force.
func (l *loop) force(ctx context.Context, p phase) {
	l.retreat.enter(p)
	plan := l.plan.received
	l.retreat.Tried.Into(&plan) // watch knows better
	l.adopt(plan, l.plan.head, true)
	l.turn(ctx, byPlan)
}

// suspected reports whether the sites that are tried may keep the controller away: it lies in one of their
// networks, or it is known by a name, which something in there may have to resolve.
func (l *loop) suspected() bool {
	for _, at := range l.link.view().Controllers {
		if _, err := netip.ParseAddrPort(at); err != nil {
			return true
		}
	}
	return l.covered()
}

// covered reports whether a controller lies in a network of another site.
func (l *loop) covered() bool {
	var at []netip.Addr
	if a := l.link.client.Remote(); a.IsValid() {
		at = append(at, a)
	}
	for _, c := range l.link.view().Controllers {
		if a, err := netip.ParseAddrPort(c); err == nil {
			at = append(at, a.Addr().Unmap())
		}
	}
	for _, s := range l.retreat.Tried.Sites {
		for _, p := range s.Prefixes {
			if s.Name != l.plan.received.Self.Site && slices.ContainsFunc(at, p.Contains) {
				return true
			}
		}
	}
	return slices.ContainsFunc(l.retreat.Tried.Remote, func(p netip.Prefix) bool { return slices.ContainsFunc(at, p.Contains) })
}
