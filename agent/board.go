package agent

import (
	"sync"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// A notice is what the loop tells the rest of the agent after a turn. It is immutable.
type notice struct {
	status  wire.Status
	plan    *peers.Plan // applied, nil before there is one
	pending bool        // an admin must approve this host
	refused *wire.Fault // the controller does not want this host
	trying  int         // peers that may still answer: not all of their candidates were tried
}

// A board shows the last notice and tells who waits that there is a new one.
type board struct {
	mu     sync.Mutex
	last   notice
	next   chan struct{} // closed with the next notice
	closed chan struct{} // closed when there will be no more
}

func newBoard() *board {
	return &board{
		next: make(chan struct{}), closed: make(chan struct{}),
		last: notice{status: emptyStatus()},
	}
}

func (b *board) put(n notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = n
	close(b.next)
	b.next = make(chan struct{})
}

func (b *board) look() notice {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// watch is the last notice and a channel that is closed when there is another.
func (b *board) watch() (notice, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last, b.next
}
