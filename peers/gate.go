package peers

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// GateVersion is the newest form of a Gate that this code understands.
const GateVersion = 1

// A Gate is what a host lets in, and which networks it reaches through tunnels only. Whom a rule lets in
// is said by selectors and not by addresses: when a host comes, the others learn its record, and their
// guards stay as they are.
type Gate struct {
	Version int            `json:"version"`
	Policy  bool           `json:"policy,omitempty"` // false: the mesh has no policy, everything is let in
	Rules   []GateRule     `json:"rules,omitempty"`
	Remote  []netip.Prefix `json:"remote,omitempty"` // networks of other sites
}

// A GateRule is a flow as far as it ends at one host.
type GateRule struct {
	Flow  int            `json:"flow"` // its number in the policy, from 1
	From  []Selector     `json:"from"`
	To    []netip.Prefix `json:"to"` // addresses of the host, networks behind it
	Allow []Service      `json:"allow"`
}

// gate is the part of the policy that ends at a host.
func (r *Roles) gate(inv *Inventory, h *Host) *Gate {
	g := &Gate{Version: GateVersion, Policy: inv.Policy != nil, Remote: inv.remote(h.Site)}
	for _, i := range flowsIn(r.Of(h).to) {
		f := &inv.Policy.Flows[i]
		if to := r.targets(h, f.To); len(to) > 0 {
			g.Rules = append(g.Rules, GateRule{Flow: i + 1, From: f.From, To: to, Allow: f.Allow})
		}
	}
	return g
}

// remote are the networks of all sites but one.
func (inv *Inventory) remote(but string) (out []netip.Prefix) {
	for _, s := range inv.sortedSites() {
		if s.Name != but {
			out = append(out, s.Known()...)
		}
	}
	return out
}

// targets are the addresses of a host and the networks behind it that selectors select, in order and
// without those that lie within others.
func (r *Roles) targets(h *Host, selectors []Selector) []netip.Prefix {
	var out []netip.Prefix
	self := end{host: h, site: h.Site, prefixes: h.Addresses()}
	for _, s := range selectors {
		if s.Kind != SelectPrefix {
			if s.selects(&self) {
				out = append(out, self.prefixes...)
			}
			continue
		}
		out = append(out, within(s.Prefix, self.prefixes)...)
	}
	if !r.gateways[h.Name] {
		return Outermost(out)
	}
	lan := end{site: h.Site, prefixes: r.lans[h.Site]}
	for _, s := range selectors {
		if s.Kind == SelectPrefix {
			out = append(out, within(s.Prefix, lan.prefixes)...)
		} else if s.selects(&lan) {
			out = append(out, lan.prefixes...)
		}
	}
	return Outermost(out)
}

// within is what a prefix and each of others have in common.
func within(p netip.Prefix, others []netip.Prefix) (out []netip.Prefix) {
	for _, o := range others {
		switch {
		case !p.Overlaps(o):
		case p.Bits() > o.Bits():
			out = append(out, p)
		default:
			out = append(out, o)
		}
	}
	return out
}

// Outermost sorts prefixes and leaves out those that lie within others.
func Outermost(list []netip.Prefix) []netip.Prefix {
	slices.SortFunc(list, comparePrefixes)
	out := list[:0]
	for _, p := range list {
		if n := len(out); n == 0 || !out[n-1].Overlaps(p) {
			out = append(out, p)
		}
	}
	return out
}

// comparePrefixes orders by address, and then from the larger to the smaller.
func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// sources are the addresses from which a rule lets in, as far as the peers of the plan have them.
func (p *Plan) sources(rule *GateRule) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range rule.From {
		switch s.Kind {
		case SelectAll:
			return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
		case SelectPrefix:
			out = append(out, s.Prefix)
		default:
			for i := range p.Peers {
				if s.names(&p.Peers[i]) {
					out = append(out, p.Peers[i].Prefixes...)
				}
			}
			for i := range p.Sites {
				if site := &p.Sites[i]; s.Kind == SelectSite && s.Name == site.Name {
					out = append(out, site.Prefixes...)
				}
			}
		}
	}
	return Outermost(out)
}

// names reports whether a selector that names hosts names a peer.
func (s Selector) names(peer *Peer) bool {
	switch s.Kind {
	case SelectHost:
		return peer.Name == s.Name
	case SelectLabel:
		value, ok := peer.Labels[s.Name]
		return ok && value == s.Value
	case SelectSite:
		return peer.Site == s.Name
	}
	return false
}

// Check refuses a guard that says what this code does not understand.
func (g *Gate) Check() error {
	if g == nil {
		return nil // of a controller that has no policies
	}
	if g.Version != GateVersion {
		return fmt.Errorf("a gate of version %d, of which only %d is known here", g.Version, GateVersion)
	}
	for i := range g.Rules {
		r := &g.Rules[i]
		if r.Flow < 1 || slices.ContainsFunc(r.To, func(p netip.Prefix) bool { return !p.IsValid() }) {
			return fmt.Errorf("rule %d of the guard has no usable flow or destination", i)
		}
	}
	if slices.ContainsFunc(g.Remote, func(p netip.Prefix) bool { return !p.IsValid() || p.Bits() == 0 }) {
		return fmt.Errorf("a guard that would keep everything in tunnels")
	}
	return nil
}

// cloneLabels is a copy that shares nothing; nil for none.
func cloneLabels(l map[string]string) map[string]string {
	if len(l) == 0 {
		return nil
	}
	return maps.Clone(l)
}
