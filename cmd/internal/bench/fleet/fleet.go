package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// Options say what the simulated agents are like.
type Options struct {
	Token wire.Token
	// On calls its argument where connections are to be made from; here if nil.
	On func(func() error) error
	// Endpoint is where a simulated host says it is reached; if nil, somewhere in the range for benchmarks (RFC 2544),
	// to which nothing is ever sent.
	Endpoint func(index int) netip.AddrPort
	// Met is called when a simulated host hears of the host named Meet, whose tunnels it shall be the other end of.
	Meet string
	Met  func(m Meeting)
}

// A Meeting is what a simulated host knows of a tunnel to a real one.
type Meeting struct {
	Index   int // of the simulated host
	Private map[peers.Generation]key.Private
	Peer    peers.Peer // the real one
	PSKs    peers.PSKs
}

// A Fleet is a number of simulated agents that enrolled with one token.
type Fleet struct {
	Options
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
func Enroll(ctx context.Context, o Options, n int) (*Fleet, error) {
	f := &Fleet{Options: o}
	if f.On == nil {
		f.On = func(do func() error) error { return do() }
	}
	if f.Endpoint == nil {
		f.Endpoint = nowhere
	}
	for i := range n {
		a, err := f.newAgent(i)
		if err != nil {
			return nil, err
		}
		f.agents = append(f.agents, a)
	}
	return f, f.enrollAll(ctx, f.agents)
}

func nowhere(index int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(index >> 8), byte(index)}), peers.DefaultPort)
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
		if a.inSync && len(a.known) >= len(f.agents)-1 {
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
