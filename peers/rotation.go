package peers

import (
	"slices"
	"time"
)

// A Rotation is how far the pairs of a mesh are on their way from one generation to the next, as their
// hosts have said it. It only goes forward, is kept nowhere, and adds up again from what the hosts say
// when they are asked anew. It is for one goroutine at a time.
//
// A pair goes through five states, each end by itself up to the fourth:
//
//	announced ──▶ proven ──▶ switched ──▶ settled ──▶ retired
//	both have     both have   traffic of    nothing is   both may drop
//	a key         answered    both takes    under way    the older one
//	                          the newer     on the older
//
// A host is where the slowest of its pairs is. See Progress.
type Rotation struct {
	From, To Generation
	index    map[HostID]int
	hosts    []rotating
	said     [][]sight // of the host in the row about the one in the column
	resting  []rest    // pairs that have switched, in that order, until they are settled
}

// rotating is one host of a Rotation.
type rotating struct {
	id      HostID
	able    bool     // to retire pairs one by one
	holds   Revision // of the plan with which it holds the newer generation; 0 while it has not said so
	retired []HostID // in the order in which it happened
}

// sight is what one end has said of the other, and what follows from it.
type sight uint8

const (
	sawAnswer  sight = 1 << iota // has answered on the next generation
	sawRoute                     // traffic to it takes the next generation
	resting                      // both ends have said so
	wasSettled                   // and nothing is under way on the older one any more
	wasRetired                   // both ends were told
)

// rest is a pair that has switched and when that was known.
type rest struct {
	a, b int
	at   time.Time
}

// A Sighting is what a host says of its way to another one on a generation.
type Sighting struct {
	Peer       HostID
	Generation Generation
	Answers    bool
	Routed     bool // all traffic to the peer takes this generation, and will after a restart
}

// NewRotation begins to watch the rotation that runs in a mesh; nil where none does.
func NewRotation(m *Mesh) *Rotation {
	if len(m.Generations) != 2 {
		return nil
	}
	return &Rotation{From: m.Generations[0].Number, To: m.Generations[1].Number, index: map[HostID]int{}}
}

// Is reports whether it is the rotation that runs in a mesh.
func (r *Rotation) Is(m *Mesh) bool {
	return r != nil && len(m.Generations) == 2 && r.From == m.Generations[0].Number && r.To == m.Generations[1].Number
}

func (r *Rotation) at(id HostID) int {
	if i, ok := r.index[id]; ok {
		return i
	}
	i := len(r.hosts)
	r.index[id] = i
	r.hosts = append(r.hosts, rotating{id: id})
	for a := range r.said {
		r.said[a] = append(r.said[a], 0)
	}
	r.said = append(r.said, make([]sight, len(r.hosts)))
	return i
}

// Begin takes in that a host has started anew, able to retire pairs one by one or not. What it said before
// is forgotten where nothing has followed from it yet: it says it again if it is still so.
func (r *Rotation) Begin(id HostID, able bool) {
	i := r.at(id)
	r.hosts[i].able, r.hosts[i].holds = able, 0
	for j := range r.said[i] {
		r.forget(i, j, sawAnswer|sawRoute)
	}
}

// Rekey takes in that a host has another key of the next generation than before: what it and others said
// was about the old one.
func (r *Rotation) Rekey(id HostID) {
	i := r.at(id)
	for j := range r.said[i] {
		if r.said[i][j]&wasRetired == 0 {
			r.said[i][j], r.said[j][i] = 0, 0
		}
	}
}

// forget takes back what a has said of b, unless the pair is settled.
func (r *Rotation) forget(a, b int, s sight) {
	if r.said[a][b]&wasSettled == 0 {
		r.said[a][b] &^= s | resting
		r.said[b][a] &^= resting
	}
}

// Hear takes in what a host says of others, known to the mesh, at a time.
func (r *Rotation) Hear(inv *Inventory, id HostID, says []Sighting, at time.Time) {
	if inv.Hosts[id] == nil {
		return
	}
	a := r.at(id)
	for _, s := range says {
		if s.Generation != r.To || s.Peer == id || inv.Hosts[s.Peer] == nil {
			continue
		}
		b := r.at(s.Peer)
		if r.said[a][b]&wasSettled != 0 {
			continue
		}
		if s.Answers {
			r.said[a][b] |= sawAnswer
		}
		if !s.Routed {
			r.forget(a, b, sawRoute)
			continue
		}
		r.said[a][b] |= sawAnswer | sawRoute
		if r.said[b][a]&sawRoute != 0 && r.said[a][b]&resting == 0 {
			r.said[a][b] |= resting
			r.said[b][a] |= resting
			r.resting = append(r.resting, rest{a: a, b: b, at: at})
		}
	}
}

// Settle settles the pairs that switched before a time: by then what was sent on the older generation
// has arrived. It gives the hosts that have a pair to retire, see Retired.
func (r *Rotation) Settle(before time.Time) []HostID {
	concerned := map[HostID]bool{}
	n := 0
	for _, w := range r.resting {
		if w.at.After(before) {
			break
		}
		n++
		if r.said[w.a][w.b]&resting == 0 {
			continue // taken back in the meantime
		}
		r.said[w.a][w.b] |= wasSettled
		r.said[w.b][w.a] |= wasSettled
		if a, b := &r.hosts[w.a], &r.hosts[w.b]; a.able && b.able {
			r.said[w.a][w.b] |= wasRetired
			r.said[w.b][w.a] |= wasRetired
			a.retired, b.retired = append(a.retired, b.id), append(b.retired, a.id)
			concerned[a.id], concerned[b.id] = true, true
		}
	}
	r.resting = slices.Delete(r.resting, 0, n)
	out := make([]HostID, 0, len(concerned))
	for id := range concerned {
		out = append(out, id)
	}
	return out
}

// Retired are the hosts with which the older generation is over for a host, without the first so many
// that it has been told.
func (r *Rotation) Retired(id HostID, told int) []HostID {
	i, ok := r.index[id]
	if !ok || told >= len(r.hosts[i].retired) {
		return nil
	}
	return slices.Clip(r.hosts[i].retired[told:])
}
