package peers

import (
	"net/netip"
	"slices"
)

// A Moved says how far a host is with leaving the older of two generations. It only grows, until that
// generation is gone. The host keeps it with its plan; a controller never sends it in one.
type Moved struct {
	From    Generation `json:"from"`
	To      Generation `json:"to,omitempty"`      // 0 where an older version has written it
	Routed  []HostID   `json:"routed,omitempty"`  // traffic to these takes the next generation; ascending
	Retired []HostID   `json:"retired,omitempty"` // with these it is over, at both ends; ascending
}

// Leaving is the generation that the host is leaving; 0 while no rotation runs.
func (p *Plan) Leaving() Generation {
	if len(p.Interfaces) < 2 {
		return 0
	}
	return p.Interfaces[0].Generation
}

// Newest is the newest generation of the plan; 0 for a plan without interfaces.
func (p *Plan) Newest() Generation {
	if len(p.Interfaces) == 0 {
		return 0
	}
	return p.Interfaces[len(p.Interfaces)-1].Generation
}

// WithMoved is the plan with what is remembered from before. Of another rotation nothing is.
func (p Plan) WithMoved(all ...Moved) Plan {
	p.Moved = Moved{}
	for _, m := range all {
		if g := p.Leaving(); g != 0 && m.From == g && (m.To == 0 || m.To == p.Newest()) {
			p.Moved = Moved{From: g, To: p.Newest(), Routed: union(p.Moved.Routed, m.Routed), Retired: union(p.Moved.Retired, m.Retired)}
		}
	}
	return p
}

// Route notes that traffic to some peers takes the newest generation.
func (p Plan) Route(ids ...HostID) Plan {
	if g := p.Leaving(); g != 0 {
		p.Moved = Moved{From: g, To: p.Newest(), Routed: union(p.Moved.Routed, ids), Retired: p.Moved.Retired}
	}
	return p
}

// Retire notes that a generation is over with some peers, which is what the controller says when both
// ends of a pair have told it that their traffic takes the next one. A generation that the host is not
// leaving, any more or yet, is none of its business.
func (p Plan) Retire(g Generation, ids ...HostID) Plan {
	if g != 0 && p.Leaving() == g {
		p.Moved = Moved{From: g, To: p.Newest(), Routed: union(p.Moved.Routed, ids), Retired: union(p.Moved.Retired, ids)}
	}
	return p
}

// Remaining is what of the plan is left to have: peers with which the older generation is over are
// without their key of it. One that has no other key keeps it.
func (p Plan) Remaining() Plan {
	g, newest := p.Leaving(), p.Newest()
	if g == 0 || len(p.Moved.Retired) == 0 {
		return p
	}
	p.Peers = slices.Clone(p.Peers)
	for i := range p.Peers {
		peer := &p.Peers[i]
		if _, has := peer.Key(newest); has && contains(p.Moved.Retired, peer.ID) {
			peer.Keys = slices.DeleteFunc(slices.Clone(peer.Keys), func(k HostKey) bool { return k.Generation == g })
		}
	}
	return p
}

// Equal reports whether nothing has moved between the two.
func (m Moved) Equal(o Moved) bool {
	return m.From == o.From && slices.Equal(m.Routed, o.Routed) && slices.Equal(m.Retired, o.Retired)
}

// HasRouted reports whether traffic to a peer takes the generation after From for good.
func (m Moved) HasRouted(id HostID) bool { return contains(m.Routed, id) }

func contains(sorted []HostID, id HostID) bool {
	_, found := slices.BinarySearch(sorted, id)
	return found
}

// union is a with ids, in order and in a slice of its own where it differs.
func union(a, ids []HostID) []HostID {
	out := slices.Concat(a, ids)
	slices.Sort(out)
	return slices.Clip(slices.Compact(out))
}

// Ways tells which generation the traffic to each peer takes: that of the interface to which all routes
// lead that the host can have. Peers whose routes are missing, or at odds, are left out.
func Ways(s State, p Plan) map[HostID]Generation {
	d := newDiffer(s, p)
	have := make(map[netip.Prefix][]Route, len(s.Routes))
	for _, r := range s.Routes {
		if r.Link != "" {
			have[r.Prefix] = append(have[r.Prefix], r)
		}
	}
	missing := func(want Route) bool {
		is := have[want.Prefix]
		return len(is) != 1 || is[0].Link != want.Link // another MTU or source address leads there as well
	}
	within := d.withinOverlay()
	out := make(map[HostID]Generation, len(p.Peers))
	for i := range p.Peers {
		peer := &p.Peers[i]
		in := d.wayTo(peer)
		if in == nil {
			continue
		}
		if !slices.ContainsFunc(d.routesTo(nil, peer, in.Name, within), missing) {
			out[peer.ID] = in.Generation
		}
	}
	return out
}
