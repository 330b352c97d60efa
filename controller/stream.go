package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/warren-mesh/warren/controller/api"
	"github.com/warren-mesh/warren/controller/limit"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	helloTimeout = 10 * time.Second
	// A host may change its record and say something this often; one that does it more often is made to
	// wait.
	changeEvery  = time.Second
	changeBurst  = 5
	messageEvery = 50 * time.Millisecond
	messageBurst = 200
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
	leave, err := c.limits.welcomes.Enter(ctx)
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
	c.moves.hello(id, hello)
	c.noteOldLedger(id, hello)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { cancel(c.listen(ctx, s, in)) }()
	err = c.talk(ctx, s, hello, leave)
	c.book.Touch(id, time.Now())
	c.log.Debug("stream ended", "host", string(id), "reason", err)
	return err
}

// readHello waits for the message that every stream begins with. Until it is there the stream belongs to
// nobody and holds nothing, so the wait is short.
func readHello(in *lines, pipe api.Pipe) (*wire.Hello, error) {
	timer := time.AfterFunc(helloTimeout, pipe.Cut)
	defer timer.Stop()
	up, err := in.next()
	if err != nil && !errors.Is(err, errLine) {
		return nil, fmt.Errorf("read hello: %v", err)
	}
	if err != nil || up.Kind != wire.UpHello || up.Hello == nil {
		return nil, wire.NewFault(400, "hello-missing", "the stream does not begin with a hello",
			"upgrade warren-agent on this host")
	}
	if err := speaks(up.Hello.Protocol); err != nil {
		return nil, err
	}
	if n := len(up.Hello.Session); n == 0 || n > 64 {
		return nil, wire.NewFault(400, "hello-missing", "the hello names no session", "upgrade warren-agent on this host")
	}
	return up.Hello, nil
}

// busyFault sends an agent away for a while; agents add their own jitter to it.
func busyFault(what string, wait time.Duration) *wire.Fault {
	f := wire.NewFault(503, "busy", what, "try again later")
	f.RetryAfter = int(wait / time.Second)
	return f
}

// noteOldLedger warns once when a host knows a revision that the ledger has not reached: then changes are
// lost that were made, a revocation perhaps.
func (c *Controller) noteOldLedger(id peers.HostID, hello *wire.Hello) {
	if here := c.Inventory().Revision; hello.Revision > here && !c.warned.Swap(true) {
		c.log.Warn("a host knows a later revision than the ledger: was an older backup restored? "+
			"Changes made since then are lost, revocations too", "host", string(id),
			"revision_of_host", uint64(hello.Revision), "revision", uint64(here))
	}
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
		Hint: "was its disk cloned? On the clone, " + hintAnew,
	})
}

// listen takes in what the agent says until its stream ends. It is the only reader.
func (c *Controller) listen(ctx context.Context, s *session, in *lines) error {
	pace := rate.NewLimiter(rate.Every(messageEvery), messageBurst)
	changes := rate.NewLimiter(rate.Every(changeEvery), changeBurst)
	for {
		up, err := in.next()
		if err != nil {
			return err
		}
		if err := pace.Wait(ctx); err != nil {
			return err
		}
		switch {
		case up.Kind == wire.UpPong:
			offer(s.pong)
		case up.Kind == wire.UpReport && up.Report != nil:
			c.hear(ctx, s.id, up.Report)
			if len(up.Report.Keys) == 0 {
				continue
			}
			if err := changes.Wait(ctx); err != nil {
				return err
			}
			if err := c.addKeys(ctx, s.id, up.Report.Keys); err != nil {
				c.log.Warn("a host's keys are refused", "host", string(s.id), "error", err)
			}
		}
	}
}

// hear takes in what a host reports, but for its keys.
func (c *Controller) hear(ctx context.Context, id peers.HostID, r *wire.Report) {
	c.book.Report(id, r, time.Now())
	c.moves.hear(c.Inventory(), id, r.Peers)
	if r.Holds != 0 {
		c.moves.holds(id, r.Holds)
	}
	if !r.Pin.IsZero() {
		c.acknowledge(id, r.Pin)
	}
	if r.Heir == nil {
		return
	}
	if err := c.succeed(ctx, id, r.Heir); err != nil {
		c.log.Warn("the new identity of a host is refused", "host", string(id), "error", err)
	}
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
