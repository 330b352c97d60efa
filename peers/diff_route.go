package peers

import (
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/peers/key"
)

// routes moves every prefix to the interface on which its peer has proven to answer.
func (d *differ) routes() {
	wanted := d.wantedRoutes()
	at := make(map[routeKey]int, len(wanted)) // in wanted
	for i := range wanted {
		at[wanted[i].key()] = i
	}
	right := make([]bool, len(wanted))
	var wrong []Route
	for _, r := range d.state.Routes {
		if i, ok := at[r.key()]; ok && wanted[i] == r {
			right[i] = true
		} else {
			wrong = append(wrong, r)
		}
	}
	for _, r := range wrong {
		// One beside the right route is as wrong as one to a foreign prefix. One instead of it is replaced.
		if i, ok := at[r.key()]; !ok || right[i] {
			d.unroute = append(d.unroute, DelRoute{Route: r})
		}
	}
	for i, r := range wanted {
		if !right[i] {
			d.move = append(d.move, SetRoute{Route: r})
		}
	}
}

func (d *differ) wantedRoutes() []Route {
	within := d.withinOverlay()
	out := make([]Route, 0, 2+2*len(d.plan.Peers))
	for _, prefix := range []netip.Prefix{d.plan.Mesh.Overlay, d.plan.Mesh.Overlay6} {
		// A foreign network that is a part of the overlay wins against this route anyway, and the rest of
		// the overlay must not leave by a default route because of it.
		out = d.wantRoute(out, Route{Prefix: prefix}, slices.DeleteFunc(slices.Clone(within), func(f Foreign) bool {
			return f.Prefix.Bits() > prefix.Bits()
		}))
	}
	if d.plan.Gate != nil && !d.plan.Loose {
		for _, prefix := range d.plan.Gate.Remote {
			out = d.wantRoute(out, Route{Prefix: prefix}, d.state.Foreign)
		}
	}
	for i := range d.plan.Peers {
		peer := &d.plan.Peers[i]
		if in := d.wayTo(peer); in != nil {
			out = d.routesTo(out, peer, in.Name, within)
		}
	}
	return out
}

// A routeKey is what the kernel tells routes apart by: behind the route through a tunnel there is, to the same
// prefix, the one that leads nowhere. It stays when the tunnel goes.
type routeKey struct {
	prefix  netip.Prefix
	nowhere bool
}

func (r *Route) key() routeKey { return routeKey{r.Prefix, r.Link == ""} }

// routesTo appends the routes to a peer through a link, as far as the host can have them.
func (d *differ) routesTo(out []Route, peer *Peer, link string, within []Foreign) []Route {
	for _, prefix := range d.prefixes(peer) {
		r := Route{Prefix: prefix, Link: link, Source: d.plan.Self.Address}
		if prefix.Addr().Is6() {
			r.Source = d.plan.Self.Address6
		}
		r.MTU = d.routeMTU(peer, link, prefix)
		foreign := d.state.Foreign
		if d.plan.Mesh.Overlay.Contains(prefix.Addr()) || d.plan.Mesh.Overlay6.Contains(prefix.Addr()) {
			foreign = within
		}
		out = d.wantRoute(out, r, foreign)
	}
	return out
}

// withinOverlay are the foreign networks that can be in conflict with addresses of the overlay. Mostly
// there is none, which spares a look at all of them for each peer.
func (d *differ) withinOverlay() (out []Foreign) {
	for _, f := range d.state.Foreign {
		if f.Prefix.Overlaps(d.plan.Mesh.Overlay) || f.Prefix.Overlaps(d.plan.Mesh.Overlay6) {
			out = append(out, f)
		}
	}
	return out
}

// wantRoute appends the route unless the host cannot have it.
func (d *differ) wantRoute(out []Route, r Route, foreign []Foreign) []Route {
	if !r.Prefix.IsValid() || r.Prefix.Addr().Is6() && !d.state.IPv6 {
		return out
	}
	if _, taken := conflict(r.Prefix, foreign); taken || isDefault(r.Prefix) {
		return out
	}
	if r.Source.IsValid() && !slices.Contains(d.own, netip.PrefixFrom(r.Source, r.Source.BitLen())) {
		return out // nobody could answer
	}
	return append(out, r)
}

// wayTo is the interface that traffic to a peer takes: that of the newest generation on which it has
// answered, or the oldest that both have while it has answered on none. It never goes back: traffic that
// has taken the next generation once does so although its interface was lost, because the other end may
// have left the older one. To a generation that is held nothing moves that has not. nil where there is none.
func (d *differ) wayTo(peer *Peer) *Interface {
	var way *Interface
	moved := d.plan.Moved.HasRouted(peer.ID)
	for i := range d.plan.Interfaces {
		in := &d.plan.Interfaces[i]
		k, ok := peer.Key(in.Generation)
		if !ok || !d.has(in) {
			continue
		}
		if way == nil || moved || d.proven(in, k) && (!in.Held || d.leads(peer, in.Name)) {
			way = in
		}
	}
	return way
}

// proven reports whether a peer has answered on an interface. WireGuard notes a handshake where packets
// may follow at once: at the end that started it, when the answer has come; at the other one, when the
// first packet in the new session has come. So whoever sees one may send, and is understood.
func (d *differ) proven(in *Interface, k key.Public) bool {
	l := d.links[in.Name]
	if l == nil || d.rekeys(in, l) {
		return false
	}
	p := l.find(k)
	return p != nil && !p.LastHandshake.IsZero()
}
