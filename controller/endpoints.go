package controller

import (
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/peers"
)

// maxTold is how many endpoints of a host's own are kept. Two are observed ones, and peers allow 16.
const maxTold = 14

// endpoints are where a host may be reached: what it says itself, and the address from which it reaches
// the controller. The observed address of the other family stays as it was, so that a host which comes
// by IPv4 now and by IPv6 then does not make a change each time. What others cannot use is left out.
func endpoints(m *peers.Mesh, told, before []peers.Endpoint, from netip.AddrPort, port uint16) []peers.Endpoint {
	var pinned, observed, local []peers.Endpoint
	for _, e := range told[:min(len(told), maxTold)] {
		switch {
		case !usable(m, e.Address):
		case e.Kind == peers.EndpointPinned:
			pinned = append(pinned, e)
		case e.Kind == peers.EndpointLocal:
			local = append(local, e)
		}
	}
	slices.SortFunc(local, func(a, b peers.Endpoint) int { return a.Address.Compare(b.Address) })
	seen := netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), port)
	if usable(m, seen) {
		observed = append(observed, peers.Endpoint{Kind: peers.EndpointObserved, Address: seen})
	}
	for _, e := range before {
		if e.Kind != peers.EndpointObserved || usable(m, seen) && e.Address.Addr().Is4() == seen.Addr().Is4() {
			continue
		}
		observed = append(observed, peers.Endpoint{
			Kind: e.Kind, Address: netip.AddrPortFrom(e.Address.Addr(), port),
		})
	}
	slices.SortFunc(observed, func(a, b peers.Endpoint) int { return a.Address.Compare(b.Address) })
	var out []peers.Endpoint
	for _, e := range slices.Concat(pinned, observed, local) {
		if !slices.ContainsFunc(out, func(o peers.Endpoint) bool { return o.Address == e.Address }) {
			out = append(out, e)
		}
	}
	return out
}

// usable leaves out what peers would refuse the whole change for: one bad address must not keep a host
// from telling its good ones.
func usable(m *peers.Mesh, at netip.AddrPort) bool {
	a := at.Addr()
	return at.IsValid() && at.Port() != 0 && at.Port() != 65535 && !a.Is4In6() && a.Zone() == "" &&
		!a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast() &&
		!m.Overlay.Contains(a) && !m.Overlay6.Contains(a)
}
