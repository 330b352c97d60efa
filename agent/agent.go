// Package agent owns the tunnels of one host. One loop observes what the kernel has, compares it with the
// plan that came from the controller, applies the difference and reports. It is fail-static: what it has
// stays until a plan says otherwise, whatever happens to the controller, to the disk or to the agent.
//
// It decides nothing about who may be in the mesh, and it never changes what is not its own.
package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/warren-mesh/warren/agent/control"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Kernel is the host's network as the agent sees it. It is used by one goroutine at a time, except Watch
// and Backend.
type Kernel interface {
	// Observe tells what there is now.
	Observe(ctx context.Context) (peers.State, error)
	// Apply takes steps in order. A failed step is reported (joined), and those that do not need it
	// still run.
	Apply(ctx context.Context, steps []peers.Step) error
	// Watch tells that something of ours may have changed. The channel is closed when ctx ends.
	Watch(ctx context.Context) (<-chan struct{}, error)
	// Backend is "kernel" or "userspace"; empty while it is not known whether either works.
	Backend() string
}

// Prober measures tunnels from inside.
type Prober interface {
	// Answer makes it answer on these addresses of this host, to these peers and nobody else.
	Answer(own []netip.Addr, known []netip.Addr)
	// Ping asks the agent behind an address count times, and for the largest packet up to mtu that
	// arrives. The summary knows no names.
	Ping(ctx context.Context, to netip.Addr, mtu, count int, each func(wire.PingReply)) (wire.PingSummary, error)
	// Nudge sends one question to the agent behind an address, and does not wait for the answer.
	Nudge(to netip.Addr)
}

// Watcher asks gateways how they are, and says how this host is.
type Watcher interface {
	// Speak has it say this host's word to known peers that ask for it, each from an address and sending to a
	// gateway; nil for nothing to say.
	Speak(word func(from netip.Addr, using peers.HostID) peers.Word)
	// Watch gives a function that asks a gateway for its word without waiting, and says to which gateway this host
	// sends. What is heard is told until ctx ends; refused means that the machine answers and its agent does not run.
	Watch(ctx context.Context, from, to netip.Addr, heard func(w peers.Word, refused bool)) (ask func(using peers.HostID))
}

// Doctor looks for the known causes of trouble.
type Doctor interface {
	Examine(ctx context.Context, s wire.Status, p peers.Plan, now peers.State, ahead time.Duration) []wire.Finding
}

// A Config is what an agent is made of.
type Config struct {
	Kernel  Kernel
	Store   *store.Store
	Prober  Prober
	Watcher Watcher
	Doctor  Doctor
	// Neighbours are those on the links to the LAN of a gateway.
	Neighbours Neighbours
	Log        *slog.Logger
	Dial       control.Dialer
	Hostname   string
	Version    string
	Port       uint16           // UDP, of slot 0; slot 1 uses the next one
	Pinned     []peers.Endpoint // where the operator says that this host is reached
	Addresses  func() ([]netip.Addr, error)
	// Counters are those of the guard, by their names.
	Counters func(context.Context) (map[string]peers.Counter, error)
	// NoFirewall wants no rule of ours at all; NoLeakGuard lets packets for the mesh leave by any way.
	NoFirewall, NoLeakGuard bool
}

// An Agent is the agent of one host. Run is its one loop; the other methods ask the loop.
type Agent struct {
	cfg       Config
	orders    chan func(context.Context, *loop)
	board     *board
	ready     chan struct{}
	readyOnce sync.Once
	enrolling turnstile
}

// New makes an agent; nothing happens before Run.
func New(c Config) *Agent {
	return &Agent{
		cfg: c, orders: make(chan func(context.Context, *loop)), board: newBoard(), ready: make(chan struct{}),
		enrolling: make(turnstile, 1),
	}
}

// Ready is closed when the plan on disk, if there is one, has been applied once.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Alive returns when the loop has come round: it is neither stuck in the kernel nor on a disk that hangs.
func (a *Agent) Alive(ctx context.Context) error {
	return a.do(ctx, func(context.Context, *loop) {})
}

// errStopped is returned to whoever asks a loop that has ended.
var errStopped = errors.New("the agent is stopping")

// do runs f in the loop and waits until it is done. Each turn of the loop is bounded by what the kernel
// takes, so waiting is bounded by ctx only.
func (a *Agent) do(ctx context.Context, f func(context.Context, *loop)) error {
	done := make(chan struct{})
	order := func(ctx context.Context, l *loop) {
		defer close(done)
		f(ctx, l)
	}
	select {
	case a.orders <- order:
	case <-a.board.closed:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	<-done
	return nil
}

// Status is what this host is, has and lacks, as fresh as freshWithin.
func (a *Agent) Status(ctx context.Context) (wire.Status, error) {
	var s wire.Status
	err := a.do(ctx, func(ctx context.Context, l *loop) {
		l.refresh(ctx)
		s = a.board.look().status
	})
	return s, err
}
