package controller

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/warren-mesh/warren/controller/api"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// partingTime is how long an agent has to take its goodbye before it is cut off without.
const partingTime = time.Second

// maxFrame is how much is written at once.
const maxFrame = 4 << 10

// A session is one stream of one agent.
type session struct {
	id   peers.HostID
	run  string // wire.Hello.Session
	pipe api.Pipe

	over    chan struct{}              // closed when the session must end
	why     atomic.Pointer[wire.Fault] // set before over is closed; nil for no goodbye
	ending  atomic.Bool
	ping    chan struct{}
	retire  chan struct{} // there are pairs to retire
	pong    chan struct{}
	doubted atomic.Bool  // somebody waits for a pong
	writing atomic.Int64 // since when a Write or Flush runs, in Unix nanoseconds; 0 for none
}

// newSession is not known to anybody until sessions.enter lets it in.
func newSession(id peers.HostID, run string, pipe api.Pipe) *session {
	return &session{
		id: id, run: run, pipe: pipe,
		over: make(chan struct{}), ping: make(chan struct{}, 1), pong: make(chan struct{}, 1), retire: make(chan struct{}, 1),
	}
}

// end makes the session end, with a goodbye where there is a reason to tell.
func (s *session) end(why *wire.Fault) {
	if s.ending.Swap(true) {
		return
	}
	s.why.Store(why)
	close(s.over)
	time.AfterFunc(partingTime, s.pipe.Cut)
}

// probe asks the agent for a sign of life and reports whether one came.
func (s *session) probe(ctx context.Context, patience time.Duration) bool {
	drain(s.pong)
	offer(s.ping)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.pong:
		return true
	case <-s.over:
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// Write writes to the agent, under the eye of the watchdog. It writes pieces, because HTTP/2 makes a
// frame of each, and every connection keeps a buffer of the size of its largest frame for ever.
func (s *session) Write(p []byte) (written int, err error) {
	defer s.writing.Store(0)
	for piece := range slices.Chunk(p, maxFrame) {
		s.writing.Store(time.Now().UnixNano())
		n, err := s.pipe.Write(piece)
		if written += n; err != nil {
			return written, err
		}
	}
	return written, nil
}

// flush sends what was written. It returns when the kernel has taken it, which is what the watchdog is for.
func (s *session) flush() error {
	s.writing.Store(time.Now().UnixNano())
	defer s.writing.Store(0)
	return s.pipe.Flush()
}

// tell writes one message.
func (s *session) tell(d *wire.Down) error {
	line, err := d.AppendLine(nil, nil)
	if err != nil {
		return err
	}
	if _, err := s.Write(line); err != nil {
		return err
	}
	return s.flush()
}

// offer puts a token into a channel of capacity 1, unless there is one.
func offer(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// drain takes out what an earlier offer may have left.
func drain(c chan struct{}) {
	select {
	case <-c:
	default:
	}
}
