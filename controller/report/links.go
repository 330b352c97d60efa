package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// A link is a wire.PeerReport in 12 bytes: a thousand hosts that report on a thousand peers are a
// million of them.
type link struct {
	host       uint32 // index of names
	generation uint32
	state      uint8
	routed     bool
}

// names numbers the host ids and states that occur in reports.
type names struct {
	hosts  []peers.HostID
	index  map[peers.HostID]uint32
	states [4]string
}

func newNames() names {
	return names{
		index:  map[peers.HostID]uint32{},
		states: [4]string{"", wire.PeerUp, wire.PeerConnecting, wire.PeerDown},
	}
}

// put replaces or adds what a host says of one peer. What no honest host says is left out.
func (n *names) put(links []link, r wire.PeerReport) []link {
	state := slices.Index(n.states[:], r.State)
	if state < 1 || r.Generation > 1<<32-1 {
		return links
	}
	host, ok := n.number(r.ID)
	if !ok {
		return links
	}
	l := link{host: host, generation: uint32(r.Generation), state: uint8(state), routed: r.Routed}
	at, had := slices.BinarySearchFunc(links, l, func(a, b link) int {
		return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.generation, b.generation))
	})
	switch {
	case had:
		links[at] = l
	case len(links) < maxPeers:
		links = slices.Insert(links, at, l)
	}
	return links
}

// number gives the number of a host id, a new one where it has none. The id is copied: it is a piece of a
// whole message otherwise, which would stay in memory with it.
func (n *names) number(id peers.HostID) (uint32, bool) {
	if i, ok := n.index[id]; ok {
		return i, true
	}
	if len(id) > 64 || len(n.hosts) >= maxPeers {
		return 0, false
	}
	i := uint32(len(n.hosts))
	own := peers.HostID(strings.Clone(string(id)))
	n.hosts = append(n.hosts, own)
	n.index[own] = i
	return i, true
}

func (n *names) reports(links []link) []wire.PeerReport {
	out := make([]wire.PeerReport, len(links))
	for i, l := range links {
		out[i] = wire.PeerReport{
			ID: n.hosts[l.host], Generation: peers.Generation(l.generation), State: n.states[l.state], Routed: l.routed,
		}
	}
	return out
}
