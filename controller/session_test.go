package controller

import (
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/peers/wire"
)

// stuckPipe is the stream of an agent that neither says nor takes anything.
type stuckPipe struct {
	once sync.Once
	cut  chan struct{}
}

func newStuckPipe() *stuckPipe { return &stuckPipe{cut: make(chan struct{})} }

var errCut = errors.New("cut")

func (p *stuckPipe) Read([]byte) (int, error)  { <-p.cut; return 0, errCut }
func (p *stuckPipe) Write([]byte) (int, error) { <-p.cut; return 0, errCut }
func (p *stuckPipe) Flush() error              { <-p.cut; return errCut }
func (p *stuckPipe) Cut()                      { p.once.Do(func() { close(p.cut) }) }

func (p *stuckPipe) isCut() bool {
	select {
	case <-p.cut:
		return true
	default:
		return false
	}
}

func TestSilentAgentIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		pipe := newStuckPipe()
		if _, err := readHello(newLines(pipe), pipe); err == nil {
			t.Error("an agent that says nothing was heard")
		}
		if took := time.Since(start); took != helloTimeout {
			t.Errorf("it was given %v, want %v", took, helloTimeout)
		}
	})
}

func TestAgentThatDoesNotReadIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ss sessions
		stuck, idle := newSession("stuck", "a", newStuckPipe()), newSession("idle", "b", newStuckPipe())
		for _, s := range []*session{stuck, idle} {
			if err := ss.enter(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		done := make(chan error)
		go func() { done <- stuck.tell(&wire.Down{Kind: wire.DownPing}) }()
		synctest.Wait()
		<-time.After(stuckAfter)
		ss.cutStuck(time.Now().Add(-stuckAfter))
		if stuck.pipe.(*stuckPipe).isCut() {
			t.Error("cut too early")
		}
		<-time.After(time.Second)
		ss.cutStuck(time.Now().Add(-stuckAfter))
		if err := <-done; !errors.Is(err, errCut) {
			t.Errorf("writing ended with %v", err)
		}
		if idle.pipe.(*stuckPipe).isCut() {
			t.Error("an agent that has nothing to read was cut")
		}
	})
}

// TestGoodbyeDoesNotWait holds that a session ends even when its agent does not take the goodbye.
func TestGoodbyeDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSession("a", "a", newStuckPipe())
		start := time.Now()
		s.end(wire.NewFault(403, "revoked", "revoked", ""))
		s.end(nil) // the first reason counts
		w := writer{s: s}
		if err := w.goodbye(); !errors.Is(err, errCut) {
			t.Errorf("goodbye ended with %v", err)
		}
		if took := time.Since(start); took != partingTime {
			t.Errorf("it took %v, want %v", took, partingTime)
		}
		if why := s.why.Load(); why == nil || why.Code != "revoked" {
			t.Errorf("the reason is %+v", why)
		}
	})
}

func TestLinesOfAnAgent(t *testing.T) {
	long := make([]byte, maxLine+10)
	for i := range long {
		long[i] = ' '
	}
	for _, c := range []struct {
		name, in string
		kind     string
		err      error
	}{
		{"message", `{"kind":"pong","new":1}` + "\n", "pong", nil},
		{"no JSON", "pong\n", "", errLine},
		{"wrong type", `{"kind":1}` + "\n", "", errLine},
		{"too long", string(long), "", errLine},
		{"cut off", `{"kind":"pong"`, "", io.EOF},
	} {
		r, w := io.Pipe()
		go func() { _, err := w.Write([]byte(c.in)); _ = w.CloseWithError(errors.Join(err, io.EOF)) }()
		up, err := newLines(r).next()
		if up.Kind != c.kind && err == nil || !errors.Is(err, c.err) {
			t.Errorf("%s: got %q %v, want %q %v", c.name, up.Kind, err, c.kind, c.err)
		}
		_ = r.Close()
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte(`{"kind":"hello","hello":{"protocol":1}}` + "\n" + `{"kind":"pong"}` + "\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, w := io.Pipe()
		go func() { _, _ = w.Write(in); _ = w.Close() }()
		defer r.Close()
		l := newLines(r)
		for range len(in) + 1 {
			if _, err := l.next(); err != nil {
				return
			}
		}
		t.Errorf("%d bytes are more than as many lines", len(in))
	})
}
