package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// errHello ends a stream that was opened with what is no longer true of this host.
var errHello = errors.New("the host's endpoints have changed")

// A Follower keeps a stream to a controller as long as it runs. What it holds and what it was told to
// report is bounded by the size of the plan, however long the controller is away.
type Follower struct {
	client *Client
	self   peers.HostID
	mesh   string
	log    *slog.Logger
	board  *board

	mu     sync.Mutex
	hello  wire.Hello
	report *wire.Report  // as of now; nil before there is one
	dirty  chan struct{} // hello or report have changed

	// confused is set after a message that did not fit what is held, and by Following.Doubted: the next stream
	// begins from nothing.
	confused atomic.Bool
}

// A Following says whom to follow as who.
type Following struct {
	Client *Client
	Self   peers.HostID
	Mesh   string // its id
	Held   *Held  // from the last time, or nil
	Hello  wire.Hello
	Log    *slog.Logger
	// Doubted asks for everything once, although there is something from the last time: it was on a disk,
	// and nobody but the controller can tell whether the pre-shared keys in it are still the right ones.
	Doubted bool
}

// NewFollower makes a follower; Run starts it.
func NewFollower(f Following) *Follower {
	out := &Follower{
		client: f.Client, self: f.Self, mesh: f.Mesh, log: f.Log, hello: f.Hello, dirty: make(chan struct{}, 1),
		board: newBoard(View{Held: f.Held, Controllers: slices.Clone(f.Client.controllers)}),
	}
	out.confused.Store(f.Doubted)
	return out
}

// View is how things stand now.
func (f *Follower) View() View { return f.board.look() }

// Changed has a signal when the view has changed in a way that concerns the host: another plan, connected
// or not, another fault.
func (f *Follower) Changed() <-chan struct{} { return f.board.changed }

// Tell hands over how the host is now. The controller hears of it in time.
func (f *Follower) Tell(hello wire.Hello, report wire.Report) {
	f.mu.Lock()
	f.hello, f.report = hello, &report
	f.mu.Unlock()
	poke(f.dirty)
}

func (f *Follower) told() (wire.Hello, *wire.Report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hello, f.report
}

// Run follows until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	b := newBackoff()
	lead := "" // the address that worked last
	for ctx.Err() == nil {
		began := time.Now()
		address, err := f.round(ctx, lead)
		if ctx.Err() != nil {
			return
		}
		lead = address
		fault := f.lost(address, err)
		select {
		case <-ctx.Done():
		case <-time.After(b.next(time.Since(began), fault)):
		}
	}
}

// round tries every address once, beginning with lead, until one gives a stream or an answer. It returns
// when that has ended.
func (f *Follower) round(ctx context.Context, lead string) (address string, err error) {
	var failures []error
	addresses := f.View().Controllers
	if i := slices.Index(addresses, lead); i > 0 {
		addresses = slices.Concat(addresses[i:], addresses[:i])
	}
	for _, address = range addresses {
		var opened bool
		opened, err = f.stream(ctx, address)
		if opened || ctx.Err() != nil || isVerdict(err) {
			return address, err
		}
		failures = append(failures, err)
	}
	return lead, worst(failures)
}

// lost notes the end of a stream, or that there was none. A log line is written only when that is new.
func (f *Follower) lost(address string, err error) *wire.Fault {
	if errors.Is(err, errHello) {
		return nil
	}
	var fault *wire.Fault
	if !errors.As(err, &fault) {
		fault = wire.NewFault(http.StatusBadGateway, CodeUnreachable,
			fmt.Sprintf("the stream of %s has ended: %v", address, err), "")
	}
	before := f.View()
	isNew := before.Connected || before.Fault == nil || before.Fault.Code != fault.Code
	f.board.change(isNew, func(v *View) { v.Connected, v.Fault = false, fault })
	if isNew {
		f.log.Warn("no connection to the controller; tunnels stay as they are",
			"code", fault.Code, "error", fault.Detail, "address", address)
	}
	return fault
}

// stream is one stream to one address; opened tells whether the controller accepted it.
func (f *Follower) stream(ctx context.Context, address string) (opened bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	t := f.client.connect(address)
	body, w := io.Pipe()
	hello, _ := f.told()
	c := &conversation{f: f, hello: hello, pongs: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	defer func() {
		cancel(nil)
		_ = body.Close() // unblocks the writer
		t.close()
		wg.Wait()
	}()
	patience := time.AfterFunc(dialPatience+answerPatience, func() { cancel(errors.New("no answer in time")) })
	defer patience.Stop()
	wg.Go(func() {
		err := c.speak(ctx, w)
		if errors.Is(err, io.ErrClosedPipe) {
			err = nil // nobody reads any more: what ended that says why
		}
		cancel(err)
	})
	resp, err := t.post(ctx, wire.PathStream, body, wire.MediaStream)
	if err != nil {
		return false, t.failed(cause(ctx, err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		raw, err := io.ReadAll(io.LimitReader(resp.Body, maxFault))
		if err != nil {
			return false, t.failed(cause(ctx, err))
		}
		return false, faultOf(resp.StatusCode, address, raw)
	}
	c.address, c.ahead = address, ahead(resp)
	err = c.listen(newLines(resp.Body), patience)
	return c.opened, cause(ctx, err)
}

// cause is why the context was ended from within, where that was it.
func cause(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil && !errors.Is(why, context.Canceled) {
		return why
	}
	return err
}
