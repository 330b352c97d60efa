package feed

import (
	"slices"
	"sync"

	"github.com/warren-mesh/warren/peers"
)

// A batch is all that happened after one revision up to that of its view, for everybody. It is immutable
// but for what it remembers.
type batch struct {
	view    *view
	all     bool // unknown what: a snapshot is needed
	owns    bool
	own     map[peers.HostID]bool
	touched map[peers.HostID]bool       // whose records changed; whether they had one at the beginning
	before  map[peers.HostID]peers.Role // at the beginning, of those whose roles changed since

	mu   sync.Mutex
	news map[audience]*news
}

// An audience is readers to whom a batch is the same, as far as they are none of those that it is about.
type audience struct {
	was, is peers.Role
	recast  bool
}

// batch finds or makes the one that begins after a revision; nil where the feed does not reach back.
func (f *Feed) batch(rev peers.Revision) *batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b := f.batches[rev]; b != nil {
		return b
	}
	if rev+1 < f.first || rev > f.last() {
		return nil
	}
	b := f.newBatch(f.marks[rev+1-f.first:])
	if f.batches == nil {
		f.batches = map[peers.Revision]*batch{}
	}
	f.batches[rev] = b
	return b
}

// newBatch adds up marks. What a host was in between does not matter: only how it was and how it was left.
func (f *Feed) newBatch(marks []mark) *batch {
	b := &batch{
		view: f.view, own: map[peers.HostID]bool{}, touched: map[peers.HostID]bool{},
		before: map[peers.HostID]peers.Role{}, news: map[audience]*news{},
	}
	for _, m := range marks {
		b.all = b.all || m.all
		b.owns = b.owns || m.owns
		for _, id := range m.own {
			b.own[id] = true
		}
		for id, had := range m.hosts {
			if _, earlier := b.touched[id]; !earlier {
				b.touched[id] = had
			}
		}
		for id, role := range m.before {
			if _, earlier := b.before[id]; !earlier {
				b.before[id] = role
			}
		}
	}
	return b
}

// was is the role of a host at the beginning of the batch.
func (b *batch) was(id peers.HostID) peers.Role {
	if r, ok := b.before[id]; ok {
		return r
	}
	return b.view.role(id)
}

// newsFor is what the batch tells a host of others. The host itself may be among them.
func (b *batch) newsFor(id peers.HostID) (*news, error) {
	_, recast := b.before[id]
	who := audience{was: b.was(id), is: b.view.role(id), recast: recast}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.news[who]; n != nil {
		return n, nil
	}
	n, err := b.gather(who)
	if err != nil {
		return nil, err
	}
	b.news[who] = n
	return n, nil
}

// gather looks at those whose records or roles changed; at everybody where the reader's own role did.
func (b *batch) gather(who audience) (*news, error) {
	about := map[peers.HostID]bool{}
	for id := range b.touched {
		about[id] = true
	}
	for id := range b.before {
		about[id] = true
	}
	if who.recast {
		for _, r := range b.view.records {
			about[r.peer.ID] = true
		}
	}
	n := &news{}
	for id := range about {
		at, there := b.view.find(id)
		had, touched := b.touched[id]
		if !touched {
			had = there
		}
		saw, sees := had && who.was.Meets(b.was(id)), there && who.is.Meets(b.view.role(id))
		switch {
		case sees && (!saw || touched):
			n.upsert = append(n.upsert, b.view.records[at])
		case saw && !sees:
			n.remove = append(n.remove, id)
		}
	}
	slices.SortFunc(n.upsert, func(x, y *record) int { return peers.ComparePeers(x.peer, y.peer) })
	slices.Sort(n.remove)
	return n, n.encode(b.view)
}

// concerns reports whether the batch has something to tell to a host.
func (b *batch) concerns(id peers.HostID) (bool, error) {
	if b.owns || b.own[id] {
		return true, nil
	}
	n, err := b.newsFor(id)
	return err == nil && n.aboutOthers(id), err
}

// fill puts what the batch is for one host into a line. Where the host is none of those that the batch
// is about, it is the same bytes for all of its audience.
func (b *batch) fill(l *line, id peers.HostID, extra []byte) error {
	n, err := b.newsFor(id)
	if err != nil {
		return err
	}
	start := n.start
	if slices.Contains(n.remove, id) {
		if start, err = opening(n.delta(b.view, id)); err != nil {
			return err
		}
	}
	l.put(start)
	l.put(extra)
	if b.owns || b.own[id] {
		l.plan(b.view, id)
	}
	l.psks(b.view, id, n.upsert)
	if n.has(id) {
		l.records(n.upsert, id)
		l.text("}\n")
		return nil
	}
	l.put(n.end)
	return nil
}
