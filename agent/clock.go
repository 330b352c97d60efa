package agent

import (
	"errors"
	"io/fs"
	"time"

	"github.com/warren-mesh/warren/peers"
)

const (
	clockKept  = 5 * time.Minute // between notes on disk of how late it is
	clockSlack = time.Minute     // that a clock may go back without a word: handshakes are not that frequent
)

// A clock knows how late it was at least once. Handshakes carry times that must grow, so a host whose clock
// goes back is refused by its peers until they notice; and no other part of the host may know that it has.
type clock struct {
	mark  time.Time // the latest time of this host so far
	noted time.Time // what is on disk
}

// restoreClock reads how late it was when an agent last ran here.
func (l *loop) restoreClock() {
	mark, err := l.Store.Clock()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.Log.Warn("it is not known how late it was last time", "error", err)
		}
		return
	}
	l.clock = clock{mark: mark, noted: mark}
}

// watchClock compares the clock with what it was, and notes how late it is. A clock that the controller
// agrees with is right, whatever there was before.
func (l *loop) watchClock(now time.Time) {
	view := l.link.view()
	agreed := view.Connected && view.Ahead.Abs() <= clockTolerance
	if now.After(l.clock.mark) || agreed {
		l.clock.mark = now
	}
	if back := l.clock.mark.Sub(now); back > clockSlack {
		if len(l.trouble[fromClock]) == 0 {
			l.Log.Warn("the clock went back", "by", back.Round(time.Second))
		}
		l.trouble.set(fromClock, peers.Problem{
			Code: codeClockBack, At: "clock",
			Message: "this host's clock is " + back.Round(time.Second).String() + " behind what it was: " +
				"its peers refuse its handshakes until each has noticed, which takes about a minute",
			Hint: "set the clock: timedatectl set-ntp true",
		})
		return
	}
	l.trouble.set(fromClock)
	if l.clock.mark.Sub(l.clock.noted).Abs() >= clockKept {
		l.noteClock()
	}
}

// noteClock keeps on disk how late it is. What fails is tried again: for little is lost with it.
func (l *loop) noteClock() {
	if l.plan == nil || l.clock.mark.IsZero() {
		return
	}
	l.clock.noted = l.clock.mark
	if err := l.Store.PutClock(l.clock.mark); err != nil {
		l.Log.Debug("how late it is cannot be kept", "error", err)
	}
}

// cure gives the steps that let peers in whose clock went back.
func (l *loop) cure(want peers.Plan, now time.Time) []peers.Step {
	steps, doubts := peers.Cure(l.seen.state, want, l.health.doubts, now)
	l.health.doubts = doubts
	for _, s := range steps {
		if add, ok := s.(peers.SetPeer); ok {
			l.Log.Warn("a peer begins handshakes in vain: forgetting its clock", "peer", add.Host, "interface", add.Link)
		}
	}
	return steps
}
