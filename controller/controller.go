package controller

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/warren-mesh/warren/controller/feed"
	"github.com/warren-mesh/warren/controller/limit"
	"github.com/warren-mesh/warren/controller/report"
	"github.com/warren-mesh/warren/peers"
)

// DefaultName is the name of a mesh that is created.
const DefaultName = "warren"

// DefaultOverlay is the IPv4 range of a mesh that is created.
func DefaultOverlay() netip.Prefix { return netip.MustParsePrefix("10.90.0.0/16") }

// How much a controller remembers and does at once.
const (
	recentRevisions = 4096 // hosts that are no further behind need no snapshot
	welcomesAtOnce  = 64   // agents that are just being let in
	welcomesWaiting = 8192
	welcomeStay     = 2 * time.Second
	keepSeenEvery   = 5 * time.Minute
	watchdogEvery   = 2 * time.Second
	stuckAfter      = 15 * time.Second // a write that takes longer: the agent does not read
)

// Settings are what a controller is started with.
type Settings struct {
	// Name and Overlay are those of a mesh to create. Of one that exists they must be, where they are set.
	Name    string
	Overlay netip.Prefix
	// Advertise are the addresses, HOST:PORT, at which hosts find this controller.
	Advertise []string
	Version   string
	// Now is the clock; nil for that of the machine.
	Now func() time.Time
}

// A Controller looks after one mesh.
type Controller struct {
	ledger   Ledger
	vault    Vault
	log      *slog.Logger
	settings Settings
	opened   time.Time
	who      identities

	writing sync.Mutex    // held by whoever changes the state
	behind  bool          // the ledger may have entries that the feed lacks; guarded by writing
	feed    *feed.Feed    // the state, and what it means to hosts
	rounds  chan struct{} // taken from by whoever wants to know that Run comes round

	sessions  sessions
	book      *report.Book
	moves     moves
	dropped   peers.Generation // whose secret is known to be gone, too
	destroyed peers.Generation // up to which secrets are known to be gone; belongs to Run
	limits    limits
	schedule  scheduler
	pending   pending     // belongs to Run
	warned    atomic.Bool // of hosts that know more than the ledger
}

// limits are for those who come in.
type limits struct {
	attempts  limit.Attempts // to enrol
	welcomes  *limit.Gate    // of agents
	verifying sync.Mutex     // held by the one who verifies the ledger
}

// Open takes a ledger and its vault over. A ledger without entries becomes a new mesh, with a new
// identity for the controller. An identity that is missing beside a ledger with entries is an error:
// every host has pinned the old one.
func Open(ctx context.Context, l Ledger, v Vault, s Settings, log *slog.Logger) (*Controller, error) {
	c := &Controller{
		ledger: l, vault: v, log: log, settings: s, opened: time.Now(), rounds: make(chan struct{}),
		who:    identities{complain: rate.Sometimes{Interval: time.Minute}},
		limits: limits{welcomes: limit.NewGate(welcomesAtOnce, welcomesWaiting, welcomeStay)},
	}
	if c.settings.Now == nil {
		c.settings.Now = time.Now
	}
	inv, err := l.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load the ledger: %w", err)
	}
	if inv.Revision == 0 {
		if inv, err = c.create(ctx, inv); err != nil {
			return nil, err
		}
	}
	if err := s.agree(&inv.Mesh); err != nil {
		return nil, err
	}
	if err := c.loadIdentity(ctx, inv); err != nil {
		return nil, err
	}
	secrets, err := c.loadSecrets(ctx, &inv.Mesh)
	if err != nil {
		return nil, err
	}
	recent, err := c.recent(ctx, inv.Revision)
	if err != nil {
		return nil, err
	}
	if c.feed, err = feed.New(inv, secrets, recent, recentRevisions); err != nil {
		return nil, fmt.Errorf("prepare what hosts must know: %w", err)
	}
	if c.book, err = c.loadBook(ctx); err != nil {
		return nil, err
	}
	c.moves.watch(&inv.Mesh)
	if err := c.loadNotice(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// recent reads the last entries up to a revision.
func (c *Controller) recent(ctx context.Context, head peers.Revision) ([]peers.Entry, error) {
	after := head - min(head, recentRevisions)
	entries := make([]peers.Entry, 0, head-after)
	for e, err := range c.ledger.Read(ctx, after) {
		if err != nil {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
		if e.Revision > head { // somebody else has written since
			break
		}
		c.schedule.note(e)
		entries = append(entries, e)
	}
	return entries, nil
}

// now is the time of day. It may go back.
func (c *Controller) now() time.Time { return c.settings.Now().Round(0) }

// Inventory is the present state.
func (c *Controller) Inventory() *peers.Inventory { return c.feed.Inventory() }

// Run does what is to be done without being asked, until ctx ends: it takes in what other controllers
// write to the ledger, cuts streams that do not move, and keeps in the vault when hosts were last seen.
func (c *Controller) Run(ctx context.Context) error {
	heads, err := c.ledger.Watch(ctx)
	if err != nil {
		return fmt.Errorf("watch the ledger: %w", err)
	}
	keep := time.NewTicker(keepSeenEvery)
	defer keep.Stop()
	watchdog := time.NewTicker(watchdogEvery)
	defer watchdog.Stop()
	rotate := time.NewTicker(rotateEvery)
	defer rotate.Stop()
	for {
		select {
		case <-ctx.Done():
			c.stop(ctx)
			return nil
		case rev, ok := <-heads:
			if !ok {
				heads = nil
				continue
			}
			c.follow(ctx, rev)
		case c.rounds <- struct{}{}:
		case <-keep.C:
			c.keepSeen(ctx)
		case now := <-watchdog.C:
			c.sessions.cutStuck(now.Add(-stuckAfter))
		case now := <-rotate.C:
			c.rotate(ctx, now)
			c.keepSchedule(ctx, c.now())
			c.keepIdentity(ctx, c.now())
			c.keepPending(ctx, c.now(), now)
		}
	}
}

// Alive returns when Run has come round and whoever was changing the state is done: neither is stuck on a
// disk that hangs. It tells nothing of whether changes succeed.
func (c *Controller) Alive(ctx context.Context) error {
	select {
	case <-c.rounds:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	return nil
}

// stop ends what Run began.
func (c *Controller) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	c.keepSeen(ctx)
}
