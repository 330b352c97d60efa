package agent_test

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/warren-mesh/warren/agent/linux"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// A livelyKernel is a Fake whose peers answer: whoever has a keepalive shakes hands, again every two minutes,
// and sends something every 25 s; unless it is silent, or sends only what it is asked for.
type livelyKernel struct {
	*linux.Fake

	mu     sync.Mutex
	silent map[key.Public]bool
	deaf   map[key.Public]bool // shakes no more hands and sends nothing, from now on
	late   map[key.Public]bool // its keepalive timer always begins anew before it ends
	fail   error               // of Observe
	last   map[key.Public]time.Time
	steps  []string
	looks  int
}

func newLivelyKernel() *livelyKernel {
	return &livelyKernel{
		Fake: linux.NewFake(), silent: map[key.Public]bool{}, deaf: map[key.Public]bool{}, late: map[key.Public]bool{}, last: map[key.Public]time.Time{},
	}
}

// Observe lets time have passed for the peers first.
func (k *livelyKernel) Observe(ctx context.Context) (peers.State, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.looks++
	if k.fail != nil {
		return peers.State{}, k.fail
	}
	s, err := k.Fake.Observe(ctx)
	if err != nil {
		return s, err
	}
	for _, l := range s.Links {
		for i := range l.Peers {
			if err := k.live(l.Name, &l.Peers[i]); err != nil {
				return s, err
			}
		}
	}
	return k.Fake.Observe(ctx)
}

func (k *livelyKernel) live(link string, p *peers.LinkPeer) error {
	now := time.Now()
	if k.silent[p.Key] || k.deaf[p.Key] || p.Keepalive == 0 && p.LastHandshake.IsZero() {
		return nil
	}
	if !k.late[p.Key] && now.Sub(k.last[p.Key]) >= 25*time.Second {
		k.last[p.Key] = now
		if err := k.Transfer(link, p.Key, 32, 32); err != nil {
			return err
		}
	}
	if p.LastHandshake.IsZero() || now.Sub(p.LastHandshake) >= 2*time.Minute {
		return k.Handshake(link, p.Key, netip.AddrPort{}, now)
	}
	return nil
}

// Apply remembers what was done.
func (k *livelyKernel) Apply(ctx context.Context, steps []peers.Step) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range steps {
		k.steps = append(k.steps, s.String())
	}
	return k.Fake.Apply(ctx, steps)
}

// set changes how the kernel behaves.
func (k *livelyKernel) set(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

// taken are the steps since the last call.
func (k *livelyKernel) taken() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := k.steps
	k.steps = nil
	return out
}

// looks is how often the agent has looked at the kernel.
func (r *rig) looks() (n int) {
	r.kernel.set(func() { n = r.kernel.looks })
	return n
}
