package peers

import (
	"net/netip"
	"slices"
)

// Leg is how a gateway stands with the LAN of its site: LegUp where it has a way to each network by a link that has a
// carrier. Networks of a family that the host has not got do not count.
func (s *State) Leg(networks []netip.Prefix) Leg {
	leg := LegUnknown
	for _, n := range networks {
		if n.Addr().Is6() && !s.IPv6 {
			continue
		}
		alive := slices.ContainsFunc(s.Foreign, func(f Foreign) bool { return f.Prefix.Overlaps(n) && !f.Down })
		if !alive {
			return LegDown
		}
		leg = LegUp
	}
	return leg
}

// Near are the host's own addresses in some networks, the first of each family; invalid for none.
func (s *State) Near(networks []netip.Prefix) (four, six netip.Addr) {
	for _, l := range s.Local {
		a := l.Prefix.Addr()
		within := slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
		switch {
		case l.Virtual || !within:
		case a.Is4() && !four.IsValid():
			four = a
		case a.Is6() && !six.IsValid():
			six = a
		}
	}
	return four, six
}

// LinkTo is the link on which the host has an address in the network of another; "" for none.
func (s *State) LinkTo(a netip.Addr) string {
	for _, l := range s.Local {
		if !l.Virtual && l.Prefix.Masked().Contains(a) {
			return l.Link
		}
	}
	return ""
}
