package control

import (
	"slices"
	"sync"
	"time"

	"github.com/warren-mesh/warren/peers/wire"
)

// A View is how things stand with the controller.
type View struct {
	Held        *Held // nil while there was never a plan
	Pending     bool  // an admin must approve this host first
	Connected   bool
	Address     string        // of the controller that answered last
	Last        time.Time     // when something was heard of it; zero for never
	Fault       *wire.Fault   // why there is no connection, or what the controller said at the end
	Ahead       time.Duration // of this host's clock
	Controllers []string      // where there may be one, in the order in which to try
}

// Refused reports whether the controller wants no more of this host.
func (v *View) Refused() bool { return !v.Connected && v.Fault != nil && isRefusal(v.Fault) }

// A board is a View that one goroutine changes and others look at.
type board struct {
	mu      sync.Mutex
	view    View
	changed chan struct{} // holds at most one signal
}

func newBoard(v View) *board { return &board{view: v, changed: make(chan struct{}, 1)} }

func (b *board) look() View {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view
}

// change changes the view; where that concerns others they get a signal.
func (b *board) change(signal bool, edit func(*View)) {
	b.mu.Lock()
	edit(&b.view)
	b.mu.Unlock()
	if signal {
		poke(b.changed)
	}
}

// poke leaves a signal unless there is one already.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// maxControllers bounds what is tried before the agent rests.
const maxControllers = 16

// joinControllers puts the addresses that the controller names before those that were known: should none of
// them work, the old ones are still there. It is safe because whoever answers is held against the pin.
func joinControllers(named, known []string) []string {
	out := make([]string, 0, len(named)+len(known))
	for _, a := range slices.Concat(named, known) {
		if a != "" && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out[:min(len(out), maxControllers)]
}
