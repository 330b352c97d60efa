package agent

import (
	"context"
	"slices"
	"time"

	"github.com/warren-mesh/warren/agent/failpoint"
	"github.com/warren-mesh/warren/peers"
)

// A reason is why a turn is taken.
type reason int

const (
	byTime  reason = iota
	byEvent        // something on the host has changed
	byPlan         // there is a new plan: nothing may delay it
)

// turn makes the host what the plan says: look, compare, change, and look again if something changed.
func (l *loop) turn(ctx context.Context, why reason) {
	defer l.publish()
	defer l.reach(ctx)
	l.events.pending, l.waiting = false, waiting{}
	l.seen.tried = time.Now()
	defer l.work.counted(l.seen.tried)
	if l.plan == nil {
		l.scout.tell(ctx, briefing{})
		return
	}
	l.keepPlan()
	l.makeKeys()
	l.makeHeir()
	l.learnPin()
	if !l.observe(ctx) {
		return
	}
	now := time.Now()
	l.watchClock(now)
	want := l.feasible()
	if l.briefed.plan != l.plan {
		l.briefScout(ctx, &want) // before anything moves: it goes on with what there is
	}
	l.choose(&want)
	l.guard(&want)
	l.trouble.set(fromConflicts, peers.Conflicts(want, l.seen.state.Foreign)...)
	l.trouble.set(fromForwarding, peers.ForwardingProblems(&want, &l.seen.state)...)
	l.trouble.set(fromScout, l.scout.problems()...)
	l.trouble.set(fromPins, l.me.pins.Problems(want.Peers, now)...)
	l.health.note(l.seen.state, &want, now)
	l.trials.note(&l.seen.state, &want, l.places(), l.isUp, now)
	l.trouble.set(fromTrials, l.narrowProblems()...)
	l.try(ctx, now)
	l.nudge(&want, now)
	roaming, attempts := peers.Roam(l.seen.state, want, l.health.attempts, now)
	missing := l.missing(want)
	l.heal(want, missing, now)
	all := slices.Concat(missing, roaming, l.cure(want, now))
	l.health.attempts = attempts
	steps := all
	if why != byPlan {
		steps = l.pace.allowed(all, now)
	}
	if l.take(ctx, steps, &want) && len(steps) == len(all) {
		l.done()
	}
	l.noteMoves(want)
	l.briefScout(ctx, &want)
	good := l.seen.state
	l.healing.good = &good
	l.keepGuard(&want)
}

// take takes steps, looks at what has become of them, and reports whether all went well.
func (l *loop) take(ctx context.Context, steps []peers.Step, want *peers.Plan) bool {
	if len(steps) == 0 {
		return true
	}
	l.tell(steps)
	failpoint.Before(want, steps)
	err := l.Kernel.Apply(ctx, steps)
	failpoint.After(want, steps)
	if !l.observe(ctx) {
		return false // or the agent stops in the middle, and the next one goes on
	}
	now := time.Now()
	l.health.note(l.seen.state, want, now)
	if err == nil {
		return true
	}
	if isNew := l.pace.failed(now, l.missing(*want), patienceWith(err)); isNew {
		for _, e := range split(err) {
			l.Log.Error("the kernel refused a step", "error", e)
		}
	}
	l.trouble.set(fromApply, applyProblems(err)...)
	return false
}

// done notes that the host is as planned.
func (l *loop) done() {
	l.plan.applied = true
	l.built = l.newestMade(&l.plan.want)
	l.pace = pace{}
	l.trouble.set(fromApply)
	l.wipeKeys(l.seen.state)
}

// observe looks at the kernel.
func (l *loop) observe(ctx context.Context) bool {
	state, err := l.Kernel.Observe(ctx)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		p := peers.Problem{Code: codeBackend, At: "kernel", Message: err.Error(), Hint: "warren doctor"}
		if !sameProblem(l.trouble[fromKernel], p) {
			l.Log.Error("the kernel cannot be asked", "error", err)
		}
		l.trouble.set(fromKernel, p)
		return false
	}
	l.trouble.set(fromKernel)
	l.seen.state, l.seen.places = state, nil
	return true
}

// feasible is the plan as far as there are keys for it. An interface without a private key cannot be made,
// but one that exists keeps the key that it has.
func (l *loop) feasible() peers.Plan {
	want := l.plan.want
	want.Private = l.me.keys
	want.Again = l.built
	want.Found = l.trials.known()
	want.Loose = l.NoLeakGuard
	if l.healing.good != nil {
		want.Lost = peers.Lost(*l.healing.good, l.seen.state)
	}
	want.Interfaces = slices.DeleteFunc(slices.Clone(want.Interfaces), func(in peers.Interface) bool {
		_, have := l.me.keys[in.Generation]
		_, exists := l.seen.state.LinkNamed(in.Name)
		return !have && !exists
	})
	return want
}

// missing are the steps that the host lacks, without those that would set a key which is not there. A plan
// from disk takes nothing away: the kernel may rightly have what was planned after it was written.
func (l *loop) missing(want peers.Plan) []peers.Step {
	steps := peers.Diff(l.seen.state, want)
	if !l.plan.fresh {
		building := peers.Building(steps)
		if l.NoFirewall && slices.Contains(steps, peers.Step(peers.DelGuard{})) {
			building = append(building, peers.DelGuard{}) // what the host's operator says waits for nobody
		}
		steps = building
	}
	return slices.DeleteFunc(steps, func(s peers.Step) bool {
		set, ok := s.(peers.SetDevice)
		return ok && set.Private.IsZero()
	})
}

// Pauses after steps that the kernel refused.
const (
	paceFirst = time.Second
	paceMost  = 30 * time.Second
	pacePort  = 4 * time.Second
)

// A pace keeps an agent from doing over and over what the kernel refuses, without holding up the rest.
type pace struct {
	refused   map[string]bool // steps, as they print themselves
	notBefore time.Time
	pause     time.Duration
}

// patienceWith is the longest pause after a failure. Nobody tells when a port becomes free.
func patienceWith(err error) time.Duration {
	for _, e := range split(err) {
		if _, taken := takenPort(e); taken {
			return pacePort
		}
	}
	return paceMost
}

// failed notes what is left to do after a failure, and reports whether that is new.
func (p *pace) failed(now time.Time, left []peers.Step, most time.Duration) bool {
	refused := make(map[string]bool, len(left))
	isNew := false
	for _, s := range left {
		refused[s.String()] = true
		isNew = isNew || !p.refused[s.String()]
	}
	p.refused = refused
	p.pause = min(max(2*p.pause, paceFirst), most)
	p.notBefore = now.Add(p.pause)
	return isNew
}

// allowed are the steps that may be tried now.
func (p *pace) allowed(steps []peers.Step, now time.Time) []peers.Step {
	if !now.Before(p.notBefore) {
		return steps
	}
	return slices.DeleteFunc(slices.Clone(steps), func(s peers.Step) bool { return p.refused[s.String()] })
}

// tell says in the log what will be done, for who debugs.
func (l *loop) tell(steps []peers.Step) {
	for _, s := range steps {
		l.Log.Debug("step", "step", s)
	}
}
