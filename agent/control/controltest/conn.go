package controltest

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A conn is one end of a connection in memory. It has a buffer, as those of a kernel have, and what is
// written while there is a hole is lost.
type conn struct {
	in, out *buffer
	hole    *atomic.Bool
}

func newConns(hole *atomic.Bool) (near, far *conn) {
	a, b := newBuffer(), newBuffer()
	return &conn{in: a, out: b, hole: hole}, &conn{in: b, out: a, hole: hole}
}

// Read reads what the other end wrote.
func (c *conn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write never waits.
func (c *conn) Write(p []byte) (int, error) {
	if c.hole.Load() {
		return len(p), nil
	}
	return c.out.write(p)
}

// Close lets the other end read what is on its way, and nobody write any more.
func (c *conn) Close() error {
	c.in.close(net.ErrClosed)
	c.out.close(io.EOF)
	return nil
}

// LocalAddr is of no use to anybody.
func (c *conn) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 40000} }

// RemoteAddr is of no use to anybody.
func (c *conn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7443} }

// SetDeadline concerns reading only: writing never waits.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline ends a Read that waits.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.until(t)
	return nil
}

// SetWriteDeadline does nothing.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// A buffer holds what is on its way in one direction.
type buffer struct {
	mu       sync.Mutex
	change   sync.Cond
	bytes    []byte
	end      error // why there will be no more
	deadline time.Time
	timer    *time.Timer
}

func newBuffer() *buffer {
	b := &buffer{}
	b.change.L = &b.mu
	return b
}

func (b *buffer) read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case b.end != nil && !errors.Is(b.end, io.EOF):
			return 0, b.end
		case len(b.bytes) > 0:
			n := copy(p, b.bytes)
			b.bytes = b.bytes[n:]
			return n, nil
		case b.end != nil:
			return 0, b.end
		case !b.deadline.IsZero() && !time.Now().Before(b.deadline):
			return 0, os.ErrDeadlineExceeded
		}
		b.change.Wait()
	}
}

func (b *buffer) write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.end != nil {
		return 0, io.ErrClosedPipe
	}
	b.bytes = append(b.bytes, p...)
	b.change.Broadcast()
	return len(p), nil
}

func (b *buffer) close(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.end == nil || !errors.Is(why, io.EOF) {
		b.end = why
	}
	if b.timer != nil {
		b.timer.Stop()
	}
	b.change.Broadcast()
}

func (b *buffer) until(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	if b.timer != nil {
		b.timer.Stop()
	}
	if !t.IsZero() && b.end == nil {
		b.timer = time.AfterFunc(time.Until(t), b.change.Broadcast)
	}
	b.change.Broadcast()
}
