package controltest

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// A listener hands out the ends of connections in memory.
type listener struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
	hole   atomic.Bool

	mu    sync.Mutex
	down  bool
	dials int
	conns []net.Conn
}

func newListener() *listener {
	return &listener{accept: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept waits for somebody to dial.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is of no use to anybody.
func (l *listener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7443} }

func (l *listener) dial(ctx context.Context) (net.Conn, error) {
	near, far := newConns(&l.hole)
	l.mu.Lock()
	l.dials++
	if l.down {
		l.mu.Unlock()
		return nil, Refused()
	}
	l.conns = append(l.conns, near, far)
	l.mu.Unlock()
	select {
	case l.accept <- far:
		return near, nil
	case <-l.closed:
		return nil, Refused()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *listener) setDown(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	if down {
		for _, c := range l.conns {
			_ = c.Close()
		}
		l.conns = nil
	}
}

func (l *listener) setBlackhole(on bool) { l.hole.Store(on) }

func (l *listener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dials
}
