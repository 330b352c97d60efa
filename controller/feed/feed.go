package feed

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// A mark says whom one revision concerned.
type mark struct {
	head  peers.Hash
	hosts map[peers.HostID]bool // whose records changed, as others see them; whether they had one before
	own   []peers.HostID        // whose own part may have changed
	owns  bool                  // everybody's own part may have changed
	all   bool                  // unknown: everything may have changed
	// before are the roles that hosts had, of those to whom the revision gave another one.
	before map[peers.HostID]peers.Role
}

// A Feed is the newest view of a mesh and a memory of the revisions that led to it. It is safe for
// concurrent use; Publish and SetSecrets must come from one goroutine at a time.
type Feed struct {
	pulse pulse
	lines lines

	mu      sync.Mutex
	view    *view
	size    int
	first   peers.Revision // of marks[0]
	before  peers.Hash     // the head before marks[0]
	marks   []mark
	batches map[peers.Revision]*batch // by the revision that they begin after
}

// New makes a feed of an inventory. recent are the last entries of the ledger, in order, up to the
// revision of the inventory: hosts that are no further behind need no snapshot. At most size revisions
// are remembered.
func New(inv *peers.Inventory, secrets Secrets, recent []peers.Entry, size int) (*Feed, error) {
	v, err := newView(inv, newDerivers(secrets))
	if err != nil {
		return nil, err
	}
	f := &Feed{view: v, size: size, first: inv.Revision + 1, before: inv.Head}
	for i, e := range recent {
		if i == 0 {
			f.first, f.before = e.Revision, e.Prev
		}
		if e.Revision != f.first+peers.Revision(i) {
			return nil, fmt.Errorf("recent entries are not in order: revision %d is missing", f.first+peers.Revision(i))
		}
		ids, all := e.Hosts()
		// Who saw whom before is not known any more where there is a policy.
		taken := e.Kind == peers.TakeBack{}.Kind() && e.Everybody()
		all = all || taken || inv.Policy != nil && len(e.Objects) > 0
		had := map[peers.HostID]bool{}
		for _, id := range ids {
			had[id] = true // or not: to take away what is not there does no harm
		}
		// An heir of a gateway is another one to everybody.
		owns := e.Everybody() || e.Kind == peers.SucceedHost{}.Kind()
		f.remember(mark{head: e.Hash, hosts: had, own: ids, owns: owns, all: all})
	}
	if f.last() != inv.Revision {
		return nil, fmt.Errorf("recent entries end at revision %d, the inventory is at %d", f.last(), inv.Revision)
	}
	return f, nil
}

// last is the newest revision that is remembered.
func (f *Feed) last() peers.Revision { return f.first + peers.Revision(len(f.marks)) - 1 }

// remember adds the mark of the next revision and forgets the oldest where there are too many.
func (f *Feed) remember(m mark) {
	f.marks = append(f.marks, m)
	if len(f.marks) > f.size {
		f.before = f.marks[0].head
		f.marks = slices.Delete(f.marks, 0, 1)
		f.first++
	}
}

// ErrOrder is returned by Publish for an entry that does not follow on the feed's revision.
var ErrOrder = errors.New("the feed is at another revision")

// Publish takes the next revision in and wakes the readers, unless it concerns no host.
func (f *Feed) Publish(inv *peers.Inventory, e peers.Entry) error {
	if e.Revision != f.view.inv.Revision+1 || inv.Revision != e.Revision {
		return ErrOrder
	}
	next, changed, err := f.view.next(inv, e)
	if err != nil {
		return err
	}
	own, owns := e.Hosts()
	owns = owns || e.Everybody() || !slices.EqualFunc(f.view.planner.Sites(), next.planner.Sites(), peers.PlanSite.Equal)
	before := next.rolesBefore(f.view, e)
	had := make(map[peers.HostID]bool, len(changed))
	for _, id := range changed {
		_, had[id] = f.view.find(id)
	}
	f.mu.Lock()
	f.view = next
	f.batches = nil
	f.remember(mark{head: e.Hash, hosts: had, own: slices.Concat(own, changed), owns: owns, before: before})
	f.mu.Unlock()
	if len(changed)+len(own) > 0 || owns {
		f.pulse.beat(time.Now())
	}
	return nil
}

// SetSecrets replaces the secrets of the generations. Publish the revision that brings a new generation
// after it.
func (f *Feed) SetSecrets(s Secrets) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := *f.view
	next.derivers = newDerivers(s)
	f.view = &next
	f.batches = nil
}

// Changed gives a channel that is closed when the feed has something new for some host. Take it before
// asking for what is there.
func (f *Feed) Changed() <-chan struct{} { return f.pulse.wait() }

// Inventory is the one that the feed is at.
func (f *Feed) Inventory() *peers.Inventory {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view.inv
}

// Knows reports whether the feed can tell what happened since a revision, and whether that is the
// revision that the ledger had: its hash decides, because a restored ledger counts on differently.
func (f *Feed) Knows(rev peers.Revision, head peers.Hash) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case rev == 0 || rev+1 < f.first || rev > f.last():
		return false
	case rev+1 == f.first:
		return head == f.before
	}
	return head == f.marks[rev-f.first].head
}
