// Package report keeps the last thing that each host said about itself, in memory: it is no history, and
// after a restart the hosts say it again.
package report

import (
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Limits of what is kept of one host, which may be a hostile one.
const (
	maxProblems = 64
	maxText     = 500
	maxPeers    = 20_000
	maxUsers    = 64
)

// A Page is what is known of one host.
type Page struct {
	Seen       time.Time // zero for never
	Version    string
	Backend    string
	Revision   peers.Revision // applied
	Generation peers.Generation
	Problems   []peers.Problem
	Gateway    *wire.GatewayReport
	Gate       int // the newest form of a plan's gate that it understands; 0 for none
}

// A Book holds the last reports of all hosts. It is safe for concurrent use.
type Book struct {
	mu    sync.Mutex
	pages map[peers.HostID]*page
	names names
}

type page struct {
	Page
	links  []link // how it sees its peers, made small
	accuse *peers.Problem
}

// NewBook makes a book in which each host was last seen at the given time.
func NewBook(seen map[peers.HostID]time.Time) *Book {
	b := &Book{pages: map[peers.HostID]*page{}, names: newNames()}
	for id, at := range seen {
		b.page(id).Seen = at
	}
	return b
}

func (b *Book) page(id peers.HostID) *page {
	p := b.pages[id]
	if p == nil {
		p = &page{}
		b.pages[id] = p
	}
	return p
}

// Hello takes in how a host introduces itself. A complete report follows, so older ones are forgotten.
func (b *Book) Hello(id peers.HostID, h *wire.Hello, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*b.page(id) = page{Page: Page{
		Seen: at, Version: clean(h.Version), Backend: clean(h.Backend), Revision: h.Revision, Gate: h.Gate,
	}}
}

// Report takes in a report: what it leaves out stays as it was.
func (b *Book) Report(id peers.HostID, r *wire.Report, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.page(id)
	p.Seen = at
	if r.Revision != 0 {
		p.Revision = r.Revision
	}
	if r.Generation != 0 {
		p.Generation = r.Generation
	}
	if r.Backend != "" {
		p.Backend = clean(r.Backend)
	}
	if r.Gateway != nil {
		p.Gateway = cleanGateway(r.Gateway)
	}
	if r.Problems != nil {
		p.Problems = cleanProblems(*r.Problems)
	}
	for _, peer := range r.Peers {
		p.links = b.names.put(p.links, peer)
	}
}

// Accuse adds a problem that the host does not know of. It stays until the host says hello again.
func (b *Book) Accuse(id peers.HostID, p peers.Problem) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.page(id).accuse = &p
}

// Touch says that a host was there at a time.
func (b *Book) Touch(id peers.HostID, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.page(id).Seen = at
}

// Of is what is known of a host.
func (b *Book) Of(id peers.HostID) Page {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pages[id]
	if p == nil {
		return Page{}
	}
	out := p.Page
	if p.accuse != nil {
		out.Problems = append(slices.Clip(out.Problems), *p.accuse)
	}
	return out
}

// Peers is how a host sees its peers.
func (b *Book) Peers(id peers.HostID) []wire.PeerReport {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.pages[id]; p != nil {
		return b.names.reports(p.links)
	}
	return nil
}

// Forget forgets a host.
func (b *Book) Forget(id peers.HostID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pages, id)
}

// Seen is when each host was last seen.
func (b *Book) Seen() map[peers.HostID]time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[peers.HostID]time.Time, len(b.pages))
	for id, p := range b.pages {
		if !p.Seen.IsZero() {
			out[id] = p.Seen
		}
	}
	return out
}

// cleanGateway bounds what a host says of who uses it.
func cleanGateway(g *wire.GatewayReport) *wire.GatewayReport {
	out := *g
	out.Other = peers.HostID(clean(string(g.Other)))
	out.Users = make([]peers.HostID, 0, min(len(g.Users), maxUsers))
	for _, id := range g.Users[:min(len(g.Users), maxUsers)] {
		out.Users = append(out.Users, peers.HostID(clean(string(id))))
	}
	return &out
}

func cleanProblems(ps []peers.Problem) []peers.Problem {
	ps = ps[:min(len(ps), maxProblems)]
	out := make([]peers.Problem, len(ps))
	for i, p := range ps {
		out[i] = peers.Problem{
			Code: clean(p.Code), At: clean(p.At), Message: clean(p.Message), Hint: clean(p.Hint),
		}
	}
	return out
}

// clean makes text of a host fit for a terminal: no control characters, and not too much of it.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s[:min(len(s), maxText)])
	return strings.Clone(s)
}
