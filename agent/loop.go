package agent

import (
	"context"
	"sync"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Times of the loop.
const (
	freshWithin = 500 * time.Millisecond // an observation this young is good enough for a question
	eventPause  = 250 * time.Millisecond // between turns that kernel events ask for
	resyncEvery = 30 * time.Second       // everything anew, whatever seems to be the case
	healthEvery = 3 * time.Second        // while all is well: what makes no event is put back within 5 s
	healthSoon  = time.Second            // while a peer is looked for
	healthFast  = 50 * time.Millisecond  // in the first moments, when somebody waits for the first handshake
	fastEach    = time.Millisecond       // and more for each peer: looking at all of them takes a while
	fastFor     = 3 * time.Second
	healthMove  = 500 * time.Millisecond // while pairs move to a new generation: traffic flows, nobody waits
	soonFor     = 5 * time.Minute
)

// A loop owns the host. Everything in it belongs to the goroutine of Run.
type loop struct {
	Config
	agent    *Agent
	me       self
	plan     *planned // nil before there is one
	seen     observation
	health   health
	healing  healing
	work     work
	trouble  trouble
	link     link
	saver    *saver
	pace     pace
	events   events
	built    peers.Generation // the newest one whose interface this host had
	kept     peers.Moved      // how far this host is with leaving a generation, as on disk
	trials   trials
	building building
	waiting  waiting
	scout    *scout
	briefed  briefed
	clock    clock
	retreat  retreat
	// keptHeld is the revision of the plan on disk, where the newer generation is held in it.
	keptHeld peers.Revision
	// keptGuard is the digest of the guard that is on disk, or on its way there.
	keptGuard string

	resuming bool // an enrolment is being finished in the background
	tasks    sync.WaitGroup
}

// Run does the work until ctx ends. Then it stops and leaves every tunnel as it is.
func (a *Agent) Run(ctx context.Context) error {
	l := &loop{Config: a.cfg, agent: a, trouble: trouble{}, saver: newSaver(a.cfg.Store)}
	l.trials.results = make(chan []outcome, 1)
	l.scout = newScout(l.Watcher, l.Neighbours, l.Log)
	l.retreat.results = make(chan reaching, 1)
	stopSaver := l.saver.start()
	defer stopSaver()
	ctx, cancel := context.WithCancel(ctx)
	defer l.tasks.Wait()
	defer cancel()
	defer close(a.board.closed)
	l.tasks.Go(func() { l.scout.run(ctx) })
	l.tasks.Go(func() { l.scout.checkLAN(ctx) })
	defer l.unfollow()
	defer func() { l.noteClock() }()
	l.events.open(ctx, l.Kernel, l.Log)
	if !l.leaveAtLast(ctx) {
		l.restore()
		l.restoreClock()
	}
	l.turn(ctx, byPlan)
	a.readyOnce.Do(func() { close(a.ready) })
	l.follow(ctx)
	l.resumeEnrolment(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(l.wait(time.Now()))
		select {
		case <-ctx.Done():
			return nil
		case <-l.link.changed():
			l.hear(ctx)
		case _, open := <-l.events.c:
			l.events.note(open)
		case r := <-l.saver.results:
			l.saved(r)
		case <-l.scout.news:
			l.turn(ctx, byPlan)
		case found := <-l.trials.results:
			l.tried(ctx, found)
		case got := <-l.retreat.results:
			l.reached(ctx, got)
		case order := <-a.orders:
			order(ctx, l)
		case <-timer.C:
			l.onTime(ctx)
		}
	}
}

// wait is how long nothing has to be done by itself.
func (l *loop) wait(now time.Time) time.Duration {
	due := l.seen.tried.Add(l.healthPause(now))
	if l.events.pending {
		due = earlier(due, l.seen.tried.Add(eventPause))
	}
	if l.plan == nil {
		due = l.seen.tried.Add(resyncEvery)
	}
	if at := l.building.at; at.After(l.seen.tried) {
		due = earlier(due, at)
	}
	if at := l.waiting.at; !at.IsZero() {
		due = earlier(due, at)
	}
	return max(0, due.Sub(now))
}

// healthPause is short while somebody may wait for a peer to answer.
func (l *loop) healthPause(now time.Time) time.Duration {
	if l.plan == nil || l.health.answering && !l.moving() {
		return healthEvery
	}
	switch {
	case now.Sub(l.health.eager) < fastFor && l.plan.want.Leaving() != 0:
		return healthMove
	case now.Sub(l.health.eager) < fastFor:
		return healthFast + time.Duration(len(l.plan.want.Peers))*fastEach
	case now.Sub(l.health.hopeful) < soonFor:
		return healthSoon
	}
	return healthEvery
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// onTime does what is due.
func (l *loop) onTime(ctx context.Context) {
	if now := time.Now(); now.Sub(l.events.looked) >= resyncEvery || l.events.pending {
		l.events.looked = now
		l.link.addresses(l)
		l.keepControllers()
		l.events.open(ctx, l.Kernel, l.Log)
	}
	why := byTime
	switch {
	case !l.waiting.at.IsZero():
		why = byPlan
	case l.events.pending:
		why = byEvent
	}
	l.turn(ctx, why)
}

// refresh makes sure that what is known is of now, and of the plan: one that waits for its turn has it before anybody is told
// how the host is.
func (l *loop) refresh(ctx context.Context) {
	switch {
	case !l.waiting.at.IsZero():
		l.turn(ctx, byPlan)
	case time.Since(l.seen.tried) >= freshWithin:
		l.turn(ctx, byTime)
	}
}

// hear takes over what the controller says.
func (l *loop) hear(ctx context.Context) {
	v := l.link.follower.View()
	if !v.Connected && v.Fault != nil && v.Fault.Code == wire.CodeRekeyed && l.succeed(ctx) {
		return
	}
	l.learnControllers(v.Controllers)
	if v.Held != nil && v.Held != l.link.taken {
		l.link.taken = v.Held
		l.takeOver(ctx, v.Held)
		return
	}
	l.publish()
}
