package limit

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrBusy is returned where too many wait already.
var ErrBusy = errors.New("too many others are waiting")

// A Gate lets a number of callers work at once and some more wait, in the order in which they came.
type Gate struct {
	room  chan struct{} // those who work and those who wait
	slots chan struct{} // those who work
	stay  time.Duration
}

// NewGate makes a gate for working callers and waiting ones. Who takes longer than stay is no longer
// counted, because one who waits for the network does not keep the processor from others.
func NewGate(working, waiting int, stay time.Duration) *Gate {
	return &Gate{
		room: make(chan struct{}, working+waiting), slots: make(chan struct{}, working), stay: stay,
	}
}

// Enter waits for a place and gives the function that leaves it again. It returns ErrBusy at once where
// there is no room to wait, and the context's error when that ends.
func (g *Gate) Enter(ctx context.Context) (leave func(), err error) {
	select {
	case g.room <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		<-g.room
		return nil, ctx.Err()
	}
	once := sync.OnceFunc(func() { <-g.slots; <-g.room })
	timer := time.AfterFunc(g.stay, once)
	return func() { timer.Stop(); once() }, nil
}
