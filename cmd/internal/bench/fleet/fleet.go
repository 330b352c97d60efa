package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warren-mesh/warren/peers/wire"
)

// A Fleet is a number of simulated agents that enrolled with one token.
type Fleet struct {
	token     wire.Token
	agents    []*agent
	received  atomic.Int64
	lastError atomic.Pointer[error]
	wait      sync.WaitGroup

	mu     sync.Mutex
	target string // the id of a newcomer whose arrival is measured
	seen   []time.Time
}

// enrollAtOnce is how many hosts enrol at the same time.
const enrollAtOnce = 32

// Enroll makes n agents, enrols them and opens their streams. They live until ctx ends.
func Enroll(ctx context.Context, token wire.Token, n int) (*Fleet, error) {
	f := &Fleet{token: token}
	for i := range n {
		a, err := f.newAgent(i)
		if err != nil {
			return nil, err
		}
		f.agents = append(f.agents, a)
	}
	return f, f.enrollAll(ctx, f.agents)
}

func (f *Fleet) enrollAll(ctx context.Context, agents []*agent) error {
	var group sync.WaitGroup
	slots := make(chan struct{}, enrollAtOnce)
	failures := make([]error, len(agents))
	for i, a := range agents {
		group.Go(func() {
			slots <- struct{}{}
			failures[i] = a.enroll(ctx)
			<-slots
			if failures[i] == nil {
				f.wait.Go(func() { a.follow(ctx) })
			}
		})
	}
	group.Wait()
	return errors.Join(failures...)
}

// Join waits for all agents, after their context ended.
func (f *Fleet) Join() { f.wait.Wait() }

// Received is how many bytes all agents have received.
func (f *Fleet) Received() int64 { return f.received.Load() }

// Converged reports how many agents know all others, over streams that are in sync.
func (f *Fleet) Converged() int {
	n := 0
	for _, a := range f.agents {
		a.mu.Lock()
		if a.inSync && len(a.known) == len(f.agents)-1 {
			n++
		}
		a.mu.Unlock()
	}
	return n
}

// Lost forgets that streams were in sync, so that Converged counts those that are so again.
func (f *Fleet) Lost() {
	for _, a := range f.agents {
		a.mu.Lock()
		a.inSync = false
		a.mu.Unlock()
	}
}

// Await waits until all agents are converged.
func (f *Fleet) Await(ctx context.Context) error {
	for f.Converged() < len(f.agents) {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d agents are in sync: %w (last failure: %v)", f.Converged(), len(f.agents), err, f.LastError())
		}
	}
	return nil
}

// LastError is why a stream ended last; nil where none did.
func (f *Fleet) LastError() error {
	if err := f.lastError.Load(); err != nil {
		return *err
	}
	return nil
}

// Add enrols one more agent and gives, for each of the others in ascending order, how long after the
// newcomer asked to be enrolled it knew of it.
func (f *Fleet) Add(ctx context.Context) ([]time.Duration, error) {
	a, err := f.newAgent(len(f.agents))
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.target, f.seen = string(a.id), nil
	f.mu.Unlock()
	if err := f.enrollAll(ctx, []*agent{a}); err != nil {
		return nil, err
	}
	others := len(f.agents)
	for f.count() < others {
		if err := pause(ctx, time.Millisecond); err != nil {
			return nil, fmt.Errorf("%d of %d agents heard of the newcomer: %w", f.count(), others, err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.agents = append(f.agents, a)
	out := make([]time.Duration, others)
	for i, at := range f.seen[:others] {
		out[i] = at.Sub(a.asked)
	}
	slices.Sort(out)
	return out, nil
}

func (f *Fleet) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.seen)
}

// saw notes when an agent hears of the newcomer.
func (f *Fleet) saw(a *agent, ids []string, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.target != "" && string(a.id) != f.target && slices.Contains(ids, f.target) {
		f.seen = append(f.seen, at)
	}
}
