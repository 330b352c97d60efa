package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/wire"
)

// clearLine moves the cursor to the beginning of its line and clears the line (ECMA-48 EL).
const clearLine = "\r\x1b[K"

// steps shows on stderr how an enrolment goes: a line for all that is told, with the time. On a terminal a
// clock runs below while there is waiting.
type steps struct {
	page  *cli.Page
	live  bool
	start time.Time
	now   func() time.Time
	stop  func()

	mu   sync.Mutex // guards what is below, and the terminal
	last wire.Progress
}

func newSteps(a *app) *steps {
	s := &steps{page: a.notes(), live: cli.IsTerminal(a.proc.Stderr), start: a.now(), now: a.now}
	s.stop = func() {}
	if s.live {
		s.runClock()
	}
	return s
}

// runClock redraws the clock until stop is called.
func (s *steps) runClock() {
	quit := make(chan struct{})
	var clock sync.WaitGroup
	clock.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				s.mu.Lock()
				fmt.Fprintf(s.page.W, "%s%s", clearLine, s.page.Paint(cli.Dim, s.elapsed()))
				s.mu.Unlock()
			}
		}
	})
	s.stop = sync.OnceFunc(func() {
		close(quit)
		clock.Wait()
		_, _ = io.WriteString(s.page.W, clearLine)
	})
}

// next shows a step.
func (s *steps) next(p wire.Progress) {
	if p.Step == "" || p.Message == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Step == s.last.Step && p.Message == s.last.Message {
		return // the end of the stream repeats what was said last
	}
	if s.live {
		_, _ = io.WriteString(s.page.W, clearLine)
	}
	step := p.Step
	if step == s.last.Step {
		step = ""
	}
	s.last = p
	fmt.Fprintf(s.page.W, "%s  %-10s  %s\n", s.page.Paint(cli.Dim, s.elapsed()), cli.Clean(step), cli.Clean(p.Message))
}

func (s *steps) elapsed() string {
	return fmt.Sprintf("%6.2f s", s.now().Sub(s.start).Seconds())
}

// close takes the clock away; it may be called again.
func (s *steps) close() { s.stop() }
