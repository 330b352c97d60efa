package feed

import (
	"io"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// A Step is what Since has done: it took a host to a revision, with or without a word.
type Step struct {
	To    peers.Revision
	Wrote bool
}

// Since writes the line that takes a host from a revision that it has to the newest one. Nothing is
// written where nothing concerns the host, unless there is an extra: JSON members, each behind a comma,
// for the first line of a stream, which are put into it as they are. ok is false where the revision is
// too old to tell: the host needs a Snapshot. The error wraps peers.ErrNoPlan where the host has become
// inactive.
func (f *Feed) Since(w io.Writer, id peers.HostID, rev peers.Revision, extra []byte) (s Step, ok bool, err error) {
	b := f.batch(rev)
	if b == nil || b.all {
		return Step{}, false, nil
	}
	s.To = b.view.inv.Revision
	concerned, err := b.concerns(id)
	if err != nil {
		return Step{}, false, err
	}
	if s.Wrote = concerned || len(extra) > 0; !s.Wrote {
		return s, true, nil
	}
	l := f.lines.begin(w)
	if concerned {
		l.fail(b.fill(l, id, extra))
	} else {
		l.open(&wire.Down{Kind: wire.DownCurrent, Revision: s.To, Head: b.view.inv.Head})
		l.put(extra)
		l.text("}\n")
	}
	return s, true, f.lines.end(l)
}

// Snapshot writes the line that tells a host everything, in pieces as w takes them, and gives its
// revision. The rest is as for Since.
func (f *Feed) Snapshot(w io.Writer, id peers.HostID, extra []byte) (peers.Revision, error) {
	f.mu.Lock()
	v := f.view
	f.mu.Unlock()
	l := f.lines.begin(w)
	l.open(&wire.Down{Kind: wire.DownSnapshot, Revision: v.inv.Revision, Head: v.inv.Head})
	l.put(extra)
	l.plan(v, id)
	seen := v.seenBy(v.role(id))
	l.psks(v, id, seen)
	l.records(seen, id)
	l.text("}\n")
	return v.inv.Revision, f.lines.end(l)
}
