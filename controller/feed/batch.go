package feed

import (
	"bytes"
	"slices"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// A batch is all that happened after one revision up to that of its view, for everybody. It is
// immutable.
type batch struct {
	view   *view
	all    bool // unknown what: a snapshot is needed
	owns   bool
	own    map[peers.HostID]bool
	upsert []*record
	remove []peers.HostID
	start  []byte // of the line: kind, revision, head and remove
	end    []byte // of the line: the records
}

// batch finds or makes the one that begins after a revision; nil where the feed does not reach back.
func (f *Feed) batch(rev peers.Revision) (*batch, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b := f.batches[rev]; b != nil {
		return b, nil
	}
	if rev+1 < f.first || rev > f.last() {
		return nil, nil
	}
	b, err := f.newBatch(f.marks[rev+1-f.first:])
	if err != nil {
		return nil, err
	}
	if f.batches == nil {
		f.batches = map[peers.Revision]*batch{}
	}
	f.batches[rev] = b
	return b, nil
}

// newBatch adds up marks. What a host was in between does not matter: only how it was left.
func (f *Feed) newBatch(marks []mark) (*batch, error) {
	b := &batch{view: f.view, own: map[peers.HostID]bool{}}
	touched := map[peers.HostID]bool{}
	for _, m := range marks {
		b.all = b.all || m.all
		b.owns = b.owns || m.owns
		for _, id := range m.own {
			b.own[id] = true
		}
		for _, id := range m.hosts {
			touched[id] = true
		}
	}
	if b.all {
		return b, nil
	}
	for id := range touched {
		if at, ok := b.view.find(id); ok {
			b.upsert = append(b.upsert, b.view.records[at])
		} else {
			b.remove = append(b.remove, id)
		}
	}
	slices.SortFunc(b.upsert, func(x, y *record) int { return peers.ComparePeers(x.peer, y.peer) })
	slices.Sort(b.remove)
	return b, b.encode()
}

// encode makes what all lines of the batch begin and end with.
func (b *batch) encode() (err error) {
	inv := b.view.inv
	b.start, err = opening(&wire.Down{
		Kind: wire.DownDelta, Revision: inv.Revision, Head: inv.Head, Remove: b.remove,
	})
	var end bytes.Buffer
	l := line{w: &end}
	l.records(b.upsert, "")
	l.text("}\n")
	l.flush()
	b.end = end.Bytes()
	return err
}

// concerns reports whether the batch has something to tell to a host.
func (b *batch) concerns(id peers.HostID) bool {
	return b.owns || b.own[id] || len(b.upsert)+len(b.remove) > 0
}

// fill puts what the batch is for one host into a line. Where the host is none of those that the batch
// is about, the records are the same bytes for all.
func (b *batch) fill(l *line, id peers.HostID, extra []byte) {
	l.put(b.start)
	l.put(extra)
	if b.owns || b.own[id] {
		l.plan(b.view, id)
		l.psks(b.view, id, b.upsert)
		l.records(b.upsert, id)
		l.text("}\n")
		return
	}
	l.psks(b.view, id, b.upsert)
	l.put(b.end)
}
