package feed

import (
	"sync"
	"time"
)

// Beats that follow each other closely are put together: a thousand readers cost tens of milliseconds
// each time, and when a thousand hosts enrol at once there would be a thousand such times.
const (
	gapFloor   = 2 * time.Millisecond
	gapPerHead = 10 * time.Microsecond // less than it takes to tell one reader
	gapCeiling = 250 * time.Millisecond
)

// A pulse wakes everybody who waits for it: at once after a rest, and at growing intervals for as long as
// there is more and more to tell. The zero value is ready for use.
type pulse struct {
	mu      sync.Mutex
	next    chan struct{}
	waiting int           // since the last beat
	last    time.Time     // beat
	gap     time.Duration // before the next one
	calls   int           // of beat since the last beat
}

// wait gives the channel that the next beat closes.
func (p *pulse) wait() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == nil {
		p.next = make(chan struct{})
	}
	p.waiting++
	return p.next
}

// beat wakes those who wait, now or when the gap to the last time is over.
func (p *pulse) beat(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.calls > 1 {
		return // the timer runs
	}
	if rest := p.gap - now.Sub(p.last); rest > 0 {
		time.AfterFunc(rest, p.late)
		return
	}
	p.wake(now)
}

func (p *pulse) late() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake(time.Now())
}

// wake wakes everybody. The gap doubles when more than one call came together, and goes back to what the
// readers need when one came alone.
func (p *pulse) wake(now time.Time) {
	least := max(gapFloor, time.Duration(p.waiting)*gapPerHead)
	if p.calls > 1 {
		p.gap = max(least, min(2*p.gap, gapCeiling))
	} else {
		p.gap = least
	}
	p.last, p.calls, p.waiting = now, 0, 0
	if p.next != nil {
		close(p.next)
		p.next = nil
	}
}
