package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/warren-mesh/warren/controller/failpoint"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// talk tells the agent what it must know, as it comes. It is the only writer. settled is called when
// the first of it is told.
func (c *Controller) talk(ctx context.Context, s *session, hello *wire.Hello, settled func()) error {
	w := writer{c: c, s: s}
	if c.feed.Knows(hello.Revision, hello.Head) {
		w.told = hello.Revision
	}
	var err error
	if w.extra, err = c.firstWords(); err != nil {
		return err
	}
	if hello.Retires {
		offer(s.retire) // the host may have missed some
	}
	for {
		changed := c.feed.Changed()
		if err := w.catchUp(); err != nil {
			return err
		}
		settled()
		select {
		case <-changed:
		case <-s.retire:
			err = w.retire()
		case <-s.ping:
			err = s.tell(&wire.Down{Kind: wire.DownPing})
		case <-s.over:
			return w.goodbye()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// firstWords are members of the first message of a stream.
func (c *Controller) firstWords() ([]byte, error) {
	addresses, err := json.Marshal(append([]string{}, c.settings.Advertise...))
	if err != nil {
		return nil, fmt.Errorf("encode addresses: %v", err)
	}
	return fmt.Appendf(nil, `,"protocol":%d,"controllers":%s`, wire.Protocol, addresses), nil
}

// A writer knows how far its agent has been told.
type writer struct {
	c       *Controller
	s       *session
	told    peers.Revision // 0: nothing, it needs a snapshot
	extra   []byte         // for the first message
	pending bool           // the agent knows that it has to wait

	rotation *peers.Rotation // of which the agent was told of so many
	retired  int             // pairs that may retire
}

// catchUp tells the agent all that it has not been told.
func (w *writer) catchUp() error {
	inv := w.c.feed.Inventory()
	if fault := barred(inv, w.s.id); fault != nil {
		w.s.end(fault)
		return nil
	}
	if inv.Hosts[w.s.id].State == peers.HostPending {
		if w.pending {
			return nil
		}
		w.pending = true
		return w.s.tell(&wire.Down{Kind: wire.DownPending, Protocol: wire.Protocol})
	}
	err := w.revisions()
	if errors.Is(err, peers.ErrNoPlan) { // barred between the two looks: the next one tells
		return nil
	}
	return err
}

// revisions tells what has happened since the last line, in one line whatever it was.
func (w *writer) revisions() error {
	if w.told == 0 {
		return w.snapshot()
	}
	step, ok, err := w.c.feed.Since(w.s, w.s.id, w.told, w.extra)
	if err != nil {
		return err
	}
	if !ok {
		return w.snapshot()
	}
	w.told = step.To
	if !step.Wrote {
		return nil
	}
	w.extra = nil
	return w.s.flush()
}

// snapshot tells everything, to an agent that knows nothing or that was away for too long.
func (w *writer) snapshot() error {
	now, err := w.c.feed.Snapshot(w.s, w.s.id, w.extra)
	if err != nil {
		return err
	}
	w.told, w.extra = now, nil
	return w.s.flush()
}

// retire tells the agent of pairs that may retire, if it was told of the generations.
func (w *writer) retire() error {
	if w.told == 0 {
		return nil
	}
	now, line := w.c.moves.retired(w.s.id, w.rotation, w.retired)
	if now != w.rotation {
		w.rotation, w.retired = now, 0
	}
	if line == nil {
		return nil
	}
	w.retired += len(line.Peers)
	err := w.s.tell(&wire.Down{Kind: wire.DownRetire, Retire: line})
	failpoint.Reach(failpoint.PairsTold)
	return err
}

// goodbye ends the stream with its reason.
func (w *writer) goodbye() error {
	why := w.s.why.Load()
	if why == nil {
		return nil
	}
	return w.s.tell(&wire.Down{Kind: wire.DownGoodbye, Fault: why})
}
