package farm

import (
	"os"
	"sync"

	"golang.zx2c4.com/wireguard/tun"
)

// A sink is an interface to which nothing is sent and which keeps nothing of what arrives.
type sink struct {
	events chan tun.Event
	closed chan struct{}
	once   sync.Once
}

func newSink() *sink { return &sink{events: make(chan tun.Event), closed: make(chan struct{})} }

// File has no meaning here.
func (s *sink) File() *os.File { return nil }

// Read returns when the sink is closed.
func (s *sink) Read([][]byte, []int, int) (int, error) {
	<-s.closed
	return 0, os.ErrClosed
}

// Write takes everything.
func (s *sink) Write(bufs [][]byte, _ int) (int, error) { return len(bufs), nil }

// MTU is that of all tunnels.
func (s *sink) MTU() (int, error) { return 1420, nil }

// Name is nowhere to be seen.
func (s *sink) Name() (string, error) { return "sink", nil }

// Events are none.
func (s *sink) Events() <-chan tun.Event { return s.events }

// BatchSize is one: there is little to do at a time.
func (s *sink) BatchSize() int { return 1 }

// Close ends Read.
func (s *sink) Close() error {
	s.once.Do(func() {
		close(s.closed)
		close(s.events)
	})
	return nil
}
