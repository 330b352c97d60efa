package agent

import (
	"sync"
	"time"

	"github.com/warren-mesh/warren/agent/failpoint"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
)

const (
	// saveRest is how much longer than a write the pause after it is, while plans keep coming: a small plan
	// is on disk a few milliseconds after it came, and a large one costs a fifth of the disk's time.
	saveRest  = 4
	saveRetry = 10 * time.Second // after a failure
)

// A saver keeps plans on disk beside the loop, so that a slow disk delays no change. The latest plan wins.
type saver struct {
	store   *store.Store
	results chan saving
	writing sync.Mutex // held while something is written
	mu      sync.Mutex
	next    *planned
	guard   *peers.Guard
	more    chan struct{}
}

func newSaver(s *store.Store) *saver {
	return &saver{store: s, results: make(chan saving, 1), more: make(chan struct{}, 1)}
}

// offer hands over a plan to keep, with pins where there are new ones.
func (s *saver) offer(p peers.Plan, head peers.Hash, pins peers.Pins) {
	s.mu.Lock()
	if pins == nil && s.next != nil {
		pins = s.next.pins
	}
	s.next = &planned{received: p, head: head, pins: pins}
	s.mu.Unlock()
	poke(s.more)
}

func (s *saver) take() *planned {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.next
	s.next = nil
	return p
}

// putBack offers a plan again unless there is a newer one.
func (s *saver) putBack(p *planned) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		s.next = p
	} else if s.next.pins == nil {
		s.next.pins = p.pins
	}
}

// discard forgets what waits, and returns when nothing is being written.
func (s *saver) discard() {
	s.take()
	s.writing.Lock()
	defer s.writing.Unlock()
	s.take() // a write that failed has put it back
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guard = nil
}

// start begins to save; stop saves what is left and returns when that is done.
func (s *saver) start() (stop func()) {
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() { s.run(quit) })
	return func() {
		close(quit)
		done.Wait()
	}
}

func (s *saver) run(quit <-chan struct{}) {
	for {
		select {
		case <-quit:
			s.save()
			return
		case <-s.more:
		}
		start := time.Now()
		saved := s.save()
		wait := saveRest * time.Since(start)
		if !saved {
			wait = saveRetry
			poke(s.more)
		}
		select {
		case <-quit:
			s.save()
			return
		case <-time.After(wait):
		}
	}
}

// poke leaves a signal unless there is one already.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// save writes the plan that waits, if there is one, and reports how that went.
func (s *saver) save() (ok bool) {
	s.writing.Lock()
	defer s.writing.Unlock()
	errGuard := s.saveGuard()
	p := s.take()
	if p == nil {
		return errGuard == nil
	}
	err := s.store.PutPlan(p.received, p.head)
	if err == nil && p.pins != nil {
		err = s.store.PutPins(p.pins)
	}
	if err != nil {
		s.putBack(p)
	}
	select {
	case <-s.results: // nobody has looked at the last one
	default:
	}
	select {
	case s.results <- saving{err: err, moved: p.received.Moved, held: p.received.HeldAt()}:
	default:
	}
	return err == nil && errGuard == nil
}

// offerGuard hands over the guard to keep.
func (s *saver) offerGuard(g peers.Guard) {
	s.mu.Lock()
	s.guard = &g
	s.mu.Unlock()
	poke(s.more)
}

// saveGuard writes the guard that waits, if there is one. What fails is tried again, unless there is a newer one.
func (s *saver) saveGuard() error {
	s.mu.Lock()
	g := s.guard
	s.guard = nil
	s.mu.Unlock()
	if g == nil {
		return nil
	}
	err := s.store.PutGuard(*g)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.guard == nil {
		s.guard = g
	}
	return err
}

// A saving is how keeping a plan went.
type saving struct {
	err   error
	moved peers.Moved // of the plan
	held  peers.Revision
}

// saved takes over how keeping the plan went.
func (l *loop) saved(r saving) {
	if err := r.err; err != nil {
		p := diskProblem(err)
		if !sameProblem(l.trouble[fromDisk], p) {
			l.Log.Error("the plan cannot be kept on disk; the one before is still there", "error", err)
		}
		l.trouble.set(fromDisk, p)
	} else {
		failpoint.Kept(l.kept, r.moved)
		l.kept, l.keptHeld = r.moved, r.held
		l.trouble.set(fromDisk)
		l.trouble.drop(fromFiles, codePlan, codeFallback, codePins)
	}
	l.publish()
}
