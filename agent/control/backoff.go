package control

import (
	"math/rand/v2"
	"time"

	"github.com/warren-mesh/warren/peers/wire"
)

// Waiting times between attempts, each the upper end of a uniform draw (full jitter): the first retry
// is nearly immediate, so that a restarted controller has its agents back within seconds; a thousand
// agents never come at once.
const (
	backoffFirst   = 250 * time.Millisecond
	backoffMost    = 15 * time.Second // and a rotation is through within 30 s of the return of its controller
	backoffRefused = time.Minute      // an admin may resume a suspended host
	settled        = 10 * time.Second // a stream that lived this long was a success
)

// A backoff decides how long to wait after which failure.
type backoff struct {
	failures int // since the last stream that was a success
	draw     func(most time.Duration) time.Duration
}

func newBackoff() *backoff { return &backoff{draw: uniform} }

func uniform(most time.Duration) time.Duration { return rand.N(most + 1) }

// next is the wait after an attempt that lived so long and ended for a reason, which may be nil.
func (b *backoff) next(lived time.Duration, why *wire.Fault) time.Duration {
	if lived >= settled {
		b.failures = 0
	}
	most := min(backoffFirst<<min(b.failures, 16), backoffMost)
	b.failures++
	switch {
	case why == nil:
		return b.draw(most)
	case why.RetryAfter > 0:
		after := min(time.Duration(why.RetryAfter)*time.Second, time.Hour)
		return after + b.draw(min(after, backoffMost))
	case isRefusal(why):
		return backoffRefused/2 + b.draw(backoffRefused/2)
	}
	return b.draw(most)
}
