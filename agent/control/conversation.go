package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers/wire"
)

// A conversation is one stream: a goroutine speaks, another listens.
type conversation struct {
	f       *Follower
	hello   wire.Hello
	address string
	ahead   time.Duration
	opened  bool
	pongs   chan struct{} // a ping waits for its answer
}

// listen takes message after message until the stream ends. patience is stopped by the first.
func (c *conversation) listen(in *lines, patience *time.Timer) error {
	for {
		d, err := in.next()
		if errors.Is(err, io.EOF) {
			return errors.New("closed by the controller")
		}
		if err != nil {
			return err
		}
		patience.Stop()
		c.greet()
		if err := c.take(d); err != nil {
			return err
		}
	}
}

// greet notes that the controller is there.
func (c *conversation) greet() {
	first := !c.opened
	c.opened = true
	c.f.board.change(first, func(v *View) {
		v.Last = time.Now()
		if first {
			v.Connected, v.Fault, v.Address, v.Ahead = true, nil, c.address, c.ahead
		}
	})
	if first {
		c.f.log.Info("connected to the controller", "address", c.address)
	}
}

// take does what a message says. An error ends the stream.
func (c *conversation) take(d *wire.Down) error {
	if len(d.Controllers) > 0 {
		c.f.board.change(true, func(v *View) { v.Controllers = joinControllers(d.Controllers, v.Controllers) })
	}
	switch d.Kind {
	case wire.DownPing:
		poke(c.pongs)
		return nil
	case wire.DownPending:
		c.f.board.change(true, func(v *View) { v.Pending = true })
		return nil
	case wire.DownGoodbye:
		if d.Fault == nil {
			return errors.New("the controller says goodbye without a reason")
		}
		return d.Fault
	}
	held, err := c.f.View().Held.next(d, c.f.self, c.f.mesh)
	if err != nil {
		c.f.confused.Store(true)
		return wire.NewFault(http.StatusBadGateway, CodeStream, "the controller sends "+err.Error(), "warren doctor")
	}
	c.f.confused.Store(false)
	c.f.board.change(true, func(v *View) { v.Held, v.Pending = held, false })
	return nil
}

// speak opens the stream and reports until it ends.
func (c *conversation) speak(ctx context.Context, w *io.PipeWriter) error {
	defer w.Close()
	hello := c.hello
	if held := c.f.View().Held; held != nil && !c.f.confused.Load() {
		hello.Revision, hello.Head = held.Plan.Revision, held.Head
	}
	if err := say(w, wire.Up{Kind: wire.UpHello, Hello: &hello}); err != nil {
		return err
	}
	told := wire.Report{Keys: hello.Keys}
	var pace pacer
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.pongs:
			if err := say(w, wire.Up{Kind: wire.UpPong}); err != nil {
				return err
			}
			continue
		case <-c.f.dirty:
		case <-timer.C:
		}
		if err := c.report(w, &told, &pace); err != nil {
			return err
		}
		if !pace.due.IsZero() {
			timer.Reset(time.Until(pace.due))
		}
	}
}

// report says what is new if it is time to.
func (c *conversation) report(w io.Writer, told *wire.Report, pace *pacer) error {
	hello, now := c.f.told()
	if hello.Port != c.hello.Port || !slices.Equal(hello.Endpoints, c.hello.Endpoints) {
		return errHello
	}
	if now == nil {
		return nil
	}
	out, level := changes(told, now)
	if pace.last.IsZero() && len(out.Keys) == 0 {
		level = min(level, routine) // the first is complete, and a restarted controller gets one of everybody
	}
	pace.want(time.Now(), level, len(now.Peers))
	if pace.due.IsZero() || time.Now().Before(pace.due) {
		return nil
	}
	pace.sent(time.Now())
	*told = *now
	return say(w, wire.Up{Kind: wire.UpReport, Report: &out})
}

func say(w io.Writer, up wire.Up) error {
	raw, err := json.Marshal(up)
	if err != nil {
		return fmt.Errorf("encode %s: %v", up.Kind, err)
	}
	_, err = w.Write(append(raw, '\n'))
	return err
}
