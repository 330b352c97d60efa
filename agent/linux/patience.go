package linux

import (
	"errors"
	"sync"
	"time"
)

// answerWithin is how long a tunnel process may take for an answer. One with 2,000 peers takes 20 ms.
const answerWithin = 5 * time.Second

// errSilent is returned for a tunnel process that is there and does not answer.
var errSilent = errors.New("its tunnel process does not answer; look for it with: pgrep -af 'tunnel --interface', " +
	"and end it: the agent starts another one")

// patience limits how long others may keep us waiting. A call that never returns costs one goroutine per
// name, not one per try: while it is out, further calls for the name fail at once.
type patience struct {
	within time.Duration

	mu  sync.Mutex
	out map[string]bool
}

func newPatience(within time.Duration) *patience {
	return &patience{within: within, out: map[string]bool{}}
}

// await runs a call for a name and gives up on it with errSilent.
func await[T any](p *patience, name string, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	p.mu.Lock()
	if p.out[name] {
		p.mu.Unlock()
		return none, errSilent
	}
	p.out[name] = true
	p.mu.Unlock()

	done := make(chan result, 1)
	go func() {
		value, err := call()
		p.mu.Lock()
		delete(p.out, name)
		p.mu.Unlock()
		done <- result{value, err}
	}()
	timer := time.NewTimer(p.within)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
		return none, errSilent
	}
}
