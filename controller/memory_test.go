package controller_test

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/warren-mesh/warren/controller"
	"github.com/warren-mesh/warren/peers"
)

// A memoryLedger keeps entries and the vault in memory, for several controllers at once. Files and bubbles of
// synctest do not go together.
type memoryLedger struct {
	mu        sync.Mutex
	inv       *peers.Inventory
	entries   []peers.Entry
	values    map[string][]byte
	watchers  map[chan peers.Revision]bool
	conflicts int
}

func newMemoryLedger() *memoryLedger {
	return &memoryLedger{inv: &peers.Inventory{}, values: map[string][]byte{}, watchers: map[chan peers.Revision]bool{}}
}

func (m *memoryLedger) Load(context.Context) (*peers.Inventory, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inv, nil
}

func (m *memoryLedger) Append(_ context.Context, e peers.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.Revision != m.inv.Revision+1 || e.Prev != m.inv.Head {
		m.conflicts++
		return fmt.Errorf("revision %d: %w", e.Revision, peers.ErrConflict)
	}
	next, err := m.inv.Replay(e)
	if err != nil {
		return err
	}
	m.inv, m.entries = next, append(m.entries, e)
	for heads := range m.watchers {
		tell(heads, next.Revision)
	}
	return nil
}

func tell(heads chan peers.Revision, rev peers.Revision) {
	select {
	case <-heads:
	default:
	}
	heads <- rev
}

func (m *memoryLedger) Read(_ context.Context, after peers.Revision) iter.Seq2[peers.Entry, error] {
	m.mu.Lock()
	entries := slices.Clone(m.entries[min(int(after), len(m.entries)):])
	m.mu.Unlock()
	return func(yield func(peers.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (m *memoryLedger) Watch(ctx context.Context) (<-chan peers.Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	heads := make(chan peers.Revision, 1)
	m.watchers[heads] = true
	heads <- m.inv.Revision
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers, heads)
		close(heads)
	})
	return heads, nil
}

func (m *memoryLedger) Fetch(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[name]
	if !ok {
		return nil, fmt.Errorf("vault value %s: %w", name, fs.ErrNotExist)
	}
	return v, nil
}

func (m *memoryLedger) Put(_ context.Context, values map[string][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.Copy(m.values, values)
	return nil
}

func (m *memoryLedger) Create(_ context.Context, values map[string][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range values {
		if _, there := m.values[name]; there {
			return fmt.Errorf("vault value %s: %w", name, fs.ErrExist)
		}
	}
	maps.Copy(m.values, values)
	return nil
}

func (m *memoryLedger) Destroy(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, name)
	return nil
}

// starts are the entries of rotations that began.
func (m *memoryLedger) starts() (all []peers.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		if e.Kind == (peers.StartGeneration{}).Kind() {
			all = append(all, e)
		}
	}
	return all
}

// runUntilStopped runs a controller until stop is called, or the test ends.
func runUntilStopped(t *testing.T, c *controller.Controller) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := c.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-ended
	})
}
