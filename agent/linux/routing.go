package linux

import (
	"maps"
	"sync/atomic"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// Times of routing.
const (
	routesKept  = 30 * time.Second // whatever seems to be the case
	routesQuiet = time.Second      // without an event, before what is read is taken for settled
)

// routing keeps the routes that were read last. With hundreds of peers to read them is a good part of what a look at the
// host costs, and every change of them is an event, so without one they are what they were. Not all events are about
// routes: with an address or a link routes go without a word of their own, a moment after the event. So what was read in
// the first moments after one is not kept, and neither is anything while nobody listens.
type routing struct {
	quiet   time.Duration
	watched atomic.Bool
	events  atomic.Uint64 // about links, addresses and routes, of anybody
	last    atomic.Int64  // when the last one came, in ns since start
	start   time.Time

	routes  []peers.Route
	foreign []peers.Foreign
	own     map[int]string // the links of ours they were read with
	at      time.Time      // zero for nothing that could be used
	seen    uint64         // events, when reading began
	reads   int
}

func newRouting() *routing { return &routing{quiet: routesQuiet, start: time.Now()} }

// heard notes an event.
func (r *routing) heard() {
	r.last.Store(int64(time.Since(r.start)))
	r.events.Add(1)
}

// listened says whether all events from now on will be heard.
func (r *routing) listened(yes bool) {
	r.heard() // meanwhile there may have been some
	r.watched.Store(yes)
}

// forget has the routes be read at the next look.
func (r *routing) forget() { r.at = time.Time{} }

// fill gives a state the routes that are known, if they are as good as read now.
func (r *routing) fill(s *peers.State, own map[int]string, now time.Time) bool {
	if r.at.IsZero() || now.Sub(r.at) >= routesKept || !r.watched.Load() || r.events.Load() != r.seen || !maps.Equal(own, r.own) {
		return false
	}
	s.Routes, s.Foreign = r.routes, r.foreign
	return true
}

// keep remembers the routes of a state. Reading them began when there had been so many events.
func (r *routing) keep(s *peers.State, own map[int]string, seen uint64, began time.Time) {
	r.reads++
	r.forget()
	if r.watched.Load() && began.Sub(r.start)-time.Duration(r.last.Load()) >= r.quiet {
		r.routes, r.foreign, r.own, r.seen, r.at = s.Routes, s.Foreign, own, seen, began
	}
}
