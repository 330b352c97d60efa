package control

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// news says how much a report has to tell.
type news int

const (
	nothing  news = iota
	routine       // only that a revision was applied: a thousand agents would say it at once
	urgent        // somebody may wait for it
	pressing      // a rotation waits for it; there is only so much of it, so it need not be slowed down
)

// Times between reports.
const (
	routineWithin = 10 * time.Second
	routineLeast  = time.Second // in a mesh of few hosts
	routineEach   = 10 * time.Millisecond
	urgentFirst   = 250 * time.Millisecond
	urgentMost    = 10 * time.Second
	pressingEach  = 4 * time.Millisecond // and more for each peer: a large mesh says it in fewer reports
)

// changes is what a report says that was not said before, and how soon it should be said.
func changes(before, now *wire.Report) (wire.Report, news) {
	var out wire.Report
	level := nothing
	tell := func(n news) { level = max(level, n) }
	if now.Revision != before.Revision {
		out.Revision = now.Revision
		tell(routine)
	}
	if now.Backend != before.Backend {
		out.Backend = now.Backend
		tell(routine)
	}
	if !sameProblems(before.Problems, now.Problems) {
		out.Problems = now.Problems
		tell(urgent)
	}
	tell(changedRotation(before, now, &out))
	if now.Heir != nil && (before.Heir == nil || !reflect.DeepEqual(before.Heir, now.Heir)) {
		out.Heir = now.Heir
		tell(urgent)
	}
	if now.Pin != before.Pin && !now.Pin.IsZero() {
		out.Pin = now.Pin
		tell(urgent)
	}
	if now.Gateway != nil && !reflect.DeepEqual(before.Gateway, now.Gateway) {
		out.Gateway = now.Gateway
		tell(urgent)
	}
	told, peerNews := changedPeers(before.Peers, now.Peers)
	out.Peers = told
	tell(peerNews)
	if level != nothing {
		out.Revision = now.Revision
	}
	return out, level
}

// changedRotation adds what a rotation wants to know.
func changedRotation(before, now, out *wire.Report) news {
	level := nothing
	if now.Generation != before.Generation {
		out.Generation = now.Generation
		level = max(level, urgent)
	}
	if out.Keys = newKeys(before.Keys, now.Keys); len(out.Keys) > 0 {
		level = max(level, pressing)
	}
	if now.Holds != before.Holds && now.Holds != 0 {
		out.Holds = now.Holds
		level = max(level, pressing)
	}
	return level
}

func sameProblems(a, b *[]peers.Problem) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(*a, *b)
}

func newKeys(before, now []peers.HostKey) (out []peers.HostKey) {
	for _, k := range now {
		told := slices.ContainsFunc(before, func(b peers.HostKey) bool {
			return b.Generation == k.Generation && b.Public == k.Public
		})
		if !told {
			out = append(out, k)
		}
	}
	return out
}

type peerAt struct {
	id peers.HostID
	g  peers.Generation
}

// changedPeers are the peers that look otherwise than before. That a new one is being tried is no news.
func changedPeers(before, now []wire.PeerReport) (out []wire.PeerReport, level news) {
	old := make(map[peerAt]wire.PeerReport, len(before))
	for _, p := range before {
		old[peerAt{p.ID, p.Generation}] = p
	}
	newest, rotating := generations(now)
	for _, p := range now {
		was, known := old[peerAt{p.ID, p.Generation}]
		if known && was == p {
			continue
		}
		out = append(out, p)
		switch {
		case rotating && p.Generation == newest && p.Routed:
			level = pressing
		case !known && p.State == wire.PeerConnecting:
			level = max(level, routine)
		default:
			level = max(level, urgent)
		}
	}
	return out, level
}

// generations gives the newest generation of some peers, and whether there are two.
func generations(all []wire.PeerReport) (newest peers.Generation, several bool) {
	for _, p := range all {
		several = several || newest != 0 && p.Generation != newest
		newest = max(newest, p.Generation)
	}
	return newest, several
}

// A pacer decides when the next report goes out: at once after a quiet time, less and less often while
// there is something new all the time.
type pacer struct {
	last    time.Time
	spacing time.Duration
	due     time.Time // zero while there is nothing to say
}

// want notes that there is something to say.
func (p *pacer) want(now time.Time, n news, peers int) {
	due := now
	switch n {
	case nothing:
		p.due = time.Time{}
		return
	case routine:
		if !p.due.IsZero() {
			return
		}
		due = now.Add(rand.N(min(routineWithin, routineLeast+time.Duration(peers)*routineEach)))
	case urgent:
		due = p.after(now, p.spacing)
	case pressing:
		due = p.after(now, min(p.spacing, urgentFirst+time.Duration(peers)*pressingEach))
	}
	if p.due.IsZero() || due.Before(p.due) {
		p.due = due
	}
}

// after is now, or a while after the last report where that is later.
func (p *pacer) after(now time.Time, spacing time.Duration) time.Time {
	if earliest := p.last.Add(spacing); !p.last.IsZero() && now.Before(earliest) {
		return earliest
	}
	return now
}

// sent notes that it was said.
func (p *pacer) sent(now time.Time) {
	if now.Sub(p.last) > max(2*p.spacing, urgentMost) {
		p.spacing = urgentFirst
	} else {
		p.spacing = min(2*p.spacing, urgentMost)
	}
	p.last, p.due = now, time.Time{}
}
