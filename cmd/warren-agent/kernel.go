package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/warren-mesh/warren/agent/linux"
	"github.com/warren-mesh/warren/peers"
)

// reopenAfter is how long a host that lacks something is left alone.
const reopenAfter = 5 * time.Second

// A lateKernel is opened when it is asked for the first time, and again after a failure: an agent on a host
// that lacks what tunnels need says what that is, and goes on by itself when it is there.
type lateKernel struct {
	options linux.Options
	log     *slog.Logger

	mu     sync.Mutex
	kernel *linux.Kernel
	err    error
	tried  time.Time
}

func (k *lateKernel) open() (*linux.Kernel, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kernel != nil || k.err != nil && time.Since(k.tried) < reopenAfter {
		return k.kernel, k.err
	}
	k.kernel, k.err = linux.New(k.options)
	k.tried = time.Now()
	return k.kernel, k.err
}

// Observe tells what there is now.
func (k *lateKernel) Observe(ctx context.Context) (peers.State, error) {
	real, err := k.open()
	if err != nil {
		return peers.State{}, err
	}
	return real.Observe(ctx)
}

// Apply takes steps.
func (k *lateKernel) Apply(ctx context.Context, steps []peers.Step) error {
	real, err := k.open()
	if err != nil {
		return err
	}
	return real.Apply(ctx, steps)
}

// Watch tells of changes.
func (k *lateKernel) Watch(ctx context.Context) (<-chan struct{}, error) {
	real, err := k.open()
	if err != nil {
		return nil, err
	}
	return real.Watch(ctx)
}

// Writes counts the messages that set something.
func (k *lateKernel) Writes() uint64 {
	real, err := k.open()
	if err != nil {
		return 0
	}
	return real.Writes()
}

// Backend is empty while neither works.
func (k *lateKernel) Backend() string {
	real, err := k.open()
	if err != nil {
		return ""
	}
	return real.Backend()
}

func (k *lateKernel) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kernel == nil {
		return nil
	}
	return k.kernel.Close()
}

// Counters are those of the guard.
func (k *lateKernel) Counters(ctx context.Context) (map[string]peers.Counter, error) {
	real, err := k.open()
	if err != nil {
		return nil, err
	}
	return real.Counters(ctx)
}
