package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/warren-mesh/warren/controller/api"
	"github.com/warren-mesh/warren/controller/limit"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	helloTimeout = 10 * time.Second
	// A host may change its record this often; one that does it more often is made to wait.
	changeEvery = time.Second
	changeBurst = 5
)

// Stream serves an agent until it goes or must go.
func (c *Controller) Stream(ctx context.Context, who api.Caller, pipe api.Pipe) error {
	id := peers.HostID(who.Identity.Fingerprint())
	if fault := barred(c.Inventory(), id); fault != nil {
		return fault
	}
	in := newLines(pipe)
	hello, err := readHello(in, pipe)
	if err != nil {
		return err
	}
	s := newSession(id, hello.Session, pipe)
	if err := c.sessions.enter(ctx, s); err != nil {
		c.noteRefusal(id, who, err)
		return err
	}
	defer c.sessions.drop(s)
	leave, err := c.gate.Enter(ctx)
	if errors.Is(err, limit.ErrBusy) {
		return busyFault("the controller is letting in as many hosts as it can", 3*time.Second)
	}
	if err != nil {
		return err
	}
	defer leave()
	if err := c.learn(ctx, who, hello); err != nil {
		return err
	}
	c.book.Hello(id, hello, time.Now())
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { cancel(c.listen(ctx, s, in)) }()
	err = c.talk(ctx, s, hello, leave)
	c.book.Touch(id, time.Now())
	c.log.Debug("stream ended", "host", string(id), "reason", err)
	return err
}

func readHello(in *lines, pipe api.Pipe) (*wire.Hello, error) {
	timer := time.AfterFunc(helloTimeout, pipe.Cut)
	defer timer.Stop()
	up, err := in.next()
	if err != nil && !errors.Is(err, errLine) {
		return nil, fmt.Errorf("read hello: %v", err)
	}
	if err != nil || up.Kind != wire.UpHello || up.Hello == nil {
		return nil, wire.NewFault(400, "hello-missing", "the stream does not begin with a hello", "upgrade warren-agent on this host")
	}
	if err := speaks(up.Hello.Protocol); err != nil {
		return nil, err
	}
	if n := len(up.Hello.Session); n == 0 || n > 64 {
		return nil, wire.NewFault(400, "hello-missing", "the hello names no session", "upgrade warren-agent on this host")
	}
	return up.Hello, nil
}

func busyFault(what string, wait time.Duration) *wire.Fault {
	f := wire.NewFault(503, "busy", what, "try again later")
	f.RetryAfter = int(wait / time.Second)
	return f
}

// noteRefusal tells the admin of a second machine with the identity of a host.
func (c *Controller) noteRefusal(id peers.HostID, who api.Caller, err error) {
	fault, ok := errors.AsType[*wire.Fault](err)
	if !ok || fault.Code != "identity-in-use" {
		return
	}
	h := c.Inventory().Hosts[id]
	if h == nil {
		return
	}
	c.log.Warn("a second machine has the identity of a host", "host", h.Name, "from", who.From.String())
	c.book.Accuse(id, peers.Problem{
		Code: fault.Code, At: "host/" + h.Name,
		Message: fmt.Sprintf("another machine with the same identity tried to connect from %v at %s",
			who.From.Addr(), time.Now().UTC().Format(time.RFC3339)),
		Hint: "was its disk cloned? On the clone: warren leave --force, then warren enroll TOKEN",
	})
}

// learn takes in what a hello says of the host that the inventory does not know yet. It costs nothing
// where it says nothing new, which is what a thousand agents do that come back at once.
func (c *Controller) learn(ctx context.Context, who api.Caller, h *wire.Hello) error {
	id := peers.HostID(who.Identity.Fingerprint())
	inv := c.Inventory()
	host := inv.Hosts[id]
	if host == nil {
		return barred(inv, id)
	}
	what := func(inv *peers.Inventory) (peers.Op, error) {
		host := inv.Hosts[id]
		if host == nil || host.State == peers.HostRevoked {
			return nil, barred(inv, id)
		}
		return news(inv, host, who, h), nil
	}
	if op, err := what(inv); err != nil || op == nil {
		return err
	}
	_, err := c.change(ctx, "host:"+host.Name, "", what)
	return err
}

// news is the change that a hello asks for; nil for none.
func news(inv *peers.Inventory, host *peers.Host, who api.Caller, h *wire.Hello) peers.Op {
	op := peers.UpdateHost{ID: host.ID, Keys: newKeys(inv, host, h.Keys)}
	port := host.Port
	if h.Port != 0 && h.Port != host.Port {
		op.Port, port = &h.Port, h.Port
	}
	at := endpoints(&inv.Mesh, h.Endpoints, host.Endpoints, who.From, port)
	if !slices.Equal(at, host.Endpoints) {
		op.Endpoints = append([]peers.Endpoint{}, at...)
	}
	if op.Port == nil && op.Endpoints == nil && op.Keys == nil {
		return nil
	}
	return op
}

// newKeys are the keys that the inventory does not have, of generations in use.
func newKeys(inv *peers.Inventory, host *peers.Host, keys []peers.HostKey) []peers.HostKey {
	var out []peers.HostKey
	for _, k := range keys {
		known := slices.ContainsFunc(host.Keys, func(old peers.HostKey) bool {
			return old.Generation == k.Generation && old.Public == k.Public
		})
		if !known && inv.Mesh.HasGeneration(k.Generation) {
			out = append(out, k)
		}
	}
	return out
}

// listen takes in what the agent says until its stream ends. It is the only reader.
func (c *Controller) listen(ctx context.Context, s *session, in *lines) error {
	pace := rate.NewLimiter(rate.Every(changeEvery), changeBurst)
	for {
		up, err := in.next()
		if err != nil {
			return err
		}
		switch {
		case up.Kind == wire.UpPong:
			offer(s.pong)
		case up.Kind == wire.UpReport && up.Report != nil:
			c.book.Report(s.id, up.Report, time.Now())
			if len(up.Report.Keys) == 0 {
				continue
			}
			if err := pace.Wait(ctx); err != nil {
				return err
			}
			if err := c.addKeys(ctx, s.id, up.Report.Keys); err != nil {
				c.log.Warn("a host's keys are refused", "host", string(s.id), "error", err)
			}
		}
	}
}

// addKeys takes in keys of a host that are new.
func (c *Controller) addKeys(ctx context.Context, id peers.HostID, keys []peers.HostKey) error {
	host := c.Inventory().Hosts[id]
	if host == nil {
		return nil
	}
	_, err := c.change(ctx, "host:"+host.Name, "", func(inv *peers.Inventory) (peers.Op, error) {
		host := inv.Hosts[id]
		if host == nil {
			return nil, nil
		}
		fresh := newKeys(inv, host, keys)
		if len(fresh) == 0 {
			return nil, nil
		}
		return peers.UpdateHost{ID: id, Keys: fresh}, nil
	})
	return err
}

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
	for {
		changed := c.feed.Changed()
		if err := w.catchUp(); err != nil {
			return err
		}
		settled()
		select {
		case <-changed:
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

func (w *writer) snapshot() error {
	now, err := w.c.feed.Snapshot(w.s, w.s.id, w.extra)
	if err != nil {
		return err
	}
	w.told, w.extra = now, nil
	return w.s.flush()
}

// goodbye ends the stream with its reason.
func (w *writer) goodbye() error {
	why := w.s.why.Load()
	if why == nil {
		return nil
	}
	return w.s.tell(&wire.Down{Kind: wire.DownGoodbye, Fault: why})
}

// Leave takes the host that asks for it out of the inventory.
func (c *Controller) Leave(ctx context.Context, who api.Caller) error {
	id := peers.HostID(who.Identity.Fingerprint())
	inv := c.Inventory()
	if fault := barred(inv, id); fault != nil { // a suspended host would come back as a new one
		return fault
	}
	_, err := c.change(ctx, "host:"+inv.Hosts[id].Name, "leave", func(inv *peers.Inventory) (peers.Op, error) {
		if inv.Hosts[id] == nil {
			return nil, nil
		}
		return peers.RemoveHost{ID: id}, nil
	})
	return err
}
