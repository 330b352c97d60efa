package peers

import (
	"maps"
	"net/netip"
	"slices"
)

// Roles tell which part every host has in the policy of an inventory. They are immutable.
type Roles struct {
	from, to *selection                // nil: there is no policy, everybody meets everybody
	lans     map[string][]netip.Prefix // by site, as the mesh knows them
	lanRoles map[string]Role           // of the networks behind gateways, by site
	gateways map[string]bool           // hosts by name
}

// A Role is the part of a host in a policy: in which flows it may be the one side, in which the other. The
// zero Role has no part. Roles of one policy can be compared; those of two mean nothing to each other.
type Role struct {
	all      bool
	from, to string // sets of flows, a bit for each
	gateway  string // the site that the host is a gateway of
}

// Roles compiles the policy.
func (inv *Inventory) Roles() *Roles {
	if inv.Policy == nil {
		return &Roles{}
	}
	r := &Roles{
		from: newSelection(len(inv.Policy.Flows)), to: newSelection(len(inv.Policy.Flows)),
		lans: map[string][]netip.Prefix{}, lanRoles: map[string]Role{}, gateways: map[string]bool{},
	}
	for i := range inv.Policy.Flows {
		r.from.add(i, inv.Policy.Flows[i].From)
		r.to.add(i, inv.Policy.Flows[i].To)
	}
	for _, s := range inv.Sites {
		r.lans[s.Name] = s.Known()
		e := end{site: s.Name, prefixes: r.lans[s.Name]}
		r.lanRoles[s.Name] = Role{from: string(r.from.of(&e)), to: string(r.to.of(&e))}
		for _, name := range s.Gateways {
			r.gateways[name] = true
		}
	}
	return r
}

// Of is the role of a host; the zero Role for one that is not active. A gateway has the roles of the
// networks behind it too, whichever gateway of its site forwards.
func (r *Roles) Of(h *Host) Role {
	switch {
	case h == nil || h.State != HostActive:
		return Role{}
	case r.from == nil:
		return Role{all: true}
	}
	e := end{host: h, site: h.Site, prefixes: h.Addresses()}
	gateway := ""
	if r.gateways[h.Name] {
		e.prefixes = append(e.prefixes, r.lans[h.Site]...)
		gateway = h.Site
	}
	return Role{from: string(r.from.of(&e)), to: string(r.to.of(&e)), gateway: gateway}
}

// lan is the role of the networks behind the gateways of a site.
func (r *Roles) lan(site string) Role {
	if r.from == nil {
		return Role{all: true}
	}
	return r.lanRoles[site]
}

// Meets reports whether there is a flow between two hosts, one way or the other. The gateways of one site meet in
// any case: they agree on which of them acts.
func (a Role) Meets(b Role) bool {
	return a.all && b.all || a.gateway != "" && a.gateway == b.gateway || intersect(a.from, b.to) || intersect(a.to, b.from)
}

// intersect reports whether two sets of flows have one in common.
func intersect(a, b string) bool {
	for i := range min(len(a), len(b)) {
		if a[i]&b[i] != 0 {
			return true
		}
	}
	return false
}

// An end is what can be at one side of a flow: a host, a network behind the gateways of a site, or both.
type end struct {
	host     *Host // nil for a network
	site     string
	prefixes []netip.Prefix
}

// selects reports whether a selector selects the end, or a part of it.
func (s Selector) selects(e *end) bool {
	switch s.Kind {
	case SelectAll:
		return true
	case SelectHost:
		return e.host != nil && e.host.Name == s.Name
	case SelectSite:
		return e.site == s.Name
	case SelectLabel:
		value, ok := "", false
		if e.host != nil {
			value, ok = e.host.Labels[s.Name]
		}
		return ok && value == s.Value
	case SelectPrefix:
		return slices.ContainsFunc(e.prefixes, s.Prefix.Overlaps)
	}
	return false
}

// A selection finds the flows of which a side selects an end, without a look at each of them.
type selection struct {
	size     int
	exact    map[Selector][]byte // of everything but prefixes
	prefixes []prefixBit
}

type prefixBit struct {
	prefix netip.Prefix
	flow   int
}

func newSelection(flows int) *selection {
	return &selection{size: (flows + 7) / 8, exact: map[Selector][]byte{}}
}

func (s *selection) add(flow int, selectors []Selector) {
	for _, sel := range selectors {
		if sel.Kind == SelectPrefix {
			s.prefixes = append(s.prefixes, prefixBit{sel.Prefix, flow})
			continue
		}
		bits := s.exact[sel]
		if bits == nil {
			bits = make([]byte, s.size)
			s.exact[sel] = bits
		}
		bits[flow/8] |= 1 << (flow % 8)
	}
}

// of is the set of flows that select the end; empty for none.
func (s *selection) of(e *end) []byte {
	out := make([]byte, s.size)
	for _, sel := range e.exact() {
		for i, b := range s.exact[sel] {
			out[i] |= b
		}
	}
	for _, p := range s.prefixes {
		if slices.ContainsFunc(e.prefixes, p.prefix.Overlaps) {
			out[p.flow/8] |= 1 << (p.flow % 8)
		}
	}
	if !slices.ContainsFunc(out, func(b byte) bool { return b != 0 }) {
		return nil
	}
	return out
}

// exact are all selectors that select the end, but for prefixes.
func (e *end) exact() []Selector {
	out := []Selector{{Kind: SelectAll}, {Kind: SelectSite, Name: e.site}}
	if e.host != nil {
		out = append(out, Selector{Kind: SelectHost, Name: e.host.Name})
		for _, k := range slices.Sorted(maps.Keys(e.host.Labels)) {
			out = append(out, Selector{Kind: SelectLabel, Name: k, Value: e.host.Labels[k]})
		}
	}
	return out
}

// flowsIn are the numbers of a set of flows, from 0, ascending.
func flowsIn(set string) []int {
	var out []int
	for i := range len(set) * 8 {
		if set[i/8]&(1<<(i%8)) != 0 {
			out = append(out, i)
		}
	}
	return out
}
