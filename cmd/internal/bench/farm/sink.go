package farm

import (
	"os"
	"sync"

	"golang.zx2c4.com/wireguard/tun"
)

// waiting is how many answers may wait to be sent.
const waiting = 16

// A sink is an interface that answers the questions of agents and keeps nothing else of what arrives.
type sink struct {
	answers chan []byte
	events  chan tun.Event
	closed  chan struct{}
	once    sync.Once
}

func newSink() *sink {
	return &sink{answers: make(chan []byte, waiting), events: make(chan tun.Event), closed: make(chan struct{})}
}

// File has no meaning here.
func (s *sink) File() *os.File { return nil }

// Read gives the answers, until the sink is closed.
func (s *sink) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case packet := <-s.answers:
		sizes[0] = copy(bufs[0][offset:], packet)
		return 1, nil
	case <-s.closed:
		return 0, os.ErrClosed
	}
}

// Write takes everything.
func (s *sink) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		packet := answer(b[offset:])
		if packet == nil {
			continue
		}
		select {
		case s.answers <- packet:
		default: // as a full queue does
		}
	}
	return len(bufs), nil
}

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
