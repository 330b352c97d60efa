package peers

import (
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/peers/key"
)

// Diff gives the steps from what a host has to what it must have. Where nothing differs there is no
// step, and what differs is changed in place: one step about one peer, never a rebuilt interface.
//
// The order is such that no step breaks traffic that could flow: first what is missing is built, then
// routes move to where they work, then what is not planned is swept, routes before the peers they lead
// to and peers before their interface. An endpoint is written only for a peer that has none: see Roam.
func Diff(s State, p Plan) []Step {
	d := &differ{state: s, plan: p}
	for i := range p.Interfaces {
		d.link(&p.Interfaces[i])
	}
	for i := range p.Interfaces {
		d.peers(&p.Interfaces[i])
	}
	d.routes()
	d.sweep()
	return slices.Concat(d.build, d.move, d.unroute, d.shrink)
}

type differ struct {
	state                        State
	plan                         Plan
	build, move, unroute, shrink []Step
}

// link makes the interface itself right.
func (d *differ) link(want *Interface) {
	have, ok := d.state.LinkNamed(want.Name)
	if !ok {
		have = &Link{MTU: want.MTU}
		d.build = append(d.build, AddLink{Name: want.Name, MTU: want.MTU})
	}
	private := d.plan.Private[want.Generation]
	if have.Public != private.Public() || have.Port != want.Port {
		d.build = append(d.build, SetDevice{Link: want.Name, Private: private, Port: want.Port})
	}
	if have.MTU != want.MTU {
		d.build = append(d.build, SetLink{Name: want.Name, MTU: want.MTU})
	}
	addresses := d.addresses()
	for _, a := range addresses {
		if !slices.Contains(have.Addresses, a) {
			d.build = append(d.build, AddAddress{Link: want.Name, Prefix: a})
		}
	}
	for _, a := range have.Addresses {
		if !slices.Contains(addresses, a) {
			d.shrink = append(d.shrink, DelAddress{Link: want.Name, Prefix: a})
		}
	}
	if !have.Up {
		d.build = append(d.build, SetLink{Name: want.Name, Up: true})
	}
}

// addresses are on every interface, so that applications never notice a switch between them.
func (d *differ) addresses() []netip.Prefix {
	self := d.plan.Self
	out := []netip.Prefix{netip.PrefixFrom(self.Address, self.Address.BitLen())}
	if d.state.IPv6 {
		out = append(out, netip.PrefixFrom(self.Address6, self.Address6.BitLen()))
	}
	return out
}

// peers makes the peers of an interface right.
func (d *differ) peers(want *Interface) {
	have, ok := d.state.LinkNamed(want.Name)
	if !ok {
		have = &Link{Name: want.Name}
	}
	old := make(map[key.Public]*LinkPeer, len(have.Peers))
	for i := range have.Peers {
		old[have.Peers[i].Key] = &have.Peers[i]
	}
	moved := map[netip.Prefix]bool{}
	var surplus []SetPeer
	for i := range d.plan.Peers {
		peer := &d.plan.Peers[i]
		k, ok := peer.Key(want.Generation)
		if !ok {
			continue
		}
		was := old[k]
		delete(old, k)
		step, differs := d.peer(want, peer, k, was)
		if differs {
			d.build = append(d.build, step)
		}
		for _, prefix := range step.Allowed {
			moved[prefix] = true
		}
		if was != nil && hasSurplus(was.Allowed, peer.Prefixes) {
			surplus = append(surplus, SetPeer{
				Link: want.Name, Host: peer.Name, Key: k, Allowed: peer.Prefixes, ReplaceAllowed: true,
			})
		}
	}
	for _, s := range surplus {
		// What moved to another peer is gone from here already.
		was, _ := have.Peer(s.Key)
		rest := slices.DeleteFunc(slices.Clone(was.Allowed), func(p netip.Prefix) bool {
			return moved[p] && !slices.Contains(s.Allowed, p)
		})
		if hasSurplus(rest, s.Allowed) {
			d.shrink = append(d.shrink, s)
		}
	}
	for _, p := range have.Peers {
		if old[p.Key] != nil {
			d.shrink = append(d.shrink, DelPeer{Link: want.Name, Key: p.Key})
		}
	}
}

// peer is the step that makes one peer right, and whether there is one to take.
func (d *differ) peer(in *Interface, want *Peer, k key.Public, have *LinkPeer) (SetPeer, bool) {
	step := SetPeer{Link: in.Name, Host: want.Name, Key: k}
	if have == nil {
		step.New = true
		have = &LinkPeer{}
	}
	if psk := d.plan.PSKs[in.Generation][want.ID]; !psk.Equal(have.PSK) {
		step.PSK = &psk
	}
	if !have.Endpoint.IsValid() && len(want.Endpoints) > 0 {
		step.Endpoint = want.Endpoints[0].At(in.Generation)
	}
	if seconds := d.plan.Mesh.Keepalive; have.Keepalive != seconds && d.mayKeepalive(want, have) {
		step.Keepalive = &seconds
	}
	for _, prefix := range want.Prefixes {
		if !slices.Contains(have.Allowed, prefix) {
			step.Allowed = append(step.Allowed, prefix)
		}
	}
	differs := step.New || step.PSK != nil || step.Endpoint.IsValid() || step.Keepalive != nil || len(step.Allowed) > 0
	return step, differs
}

// mayKeepalive says whether a keepalive, which starts a handshake, may be set. Where both ends start
// one at once, each overwrites the state that the other's answer needs, and both wait 5 s for the next
// try. So the host that joined later starts: by then the other one knows it.
func (d *differ) mayKeepalive(want *Peer, have *LinkPeer) bool {
	return want.Joined < d.plan.Self.Joined || !have.LastHandshake.IsZero() || have.Keepalive != 0
}

func hasSurplus(have, want []netip.Prefix) bool {
	return slices.ContainsFunc(have, func(p netip.Prefix) bool { return !slices.Contains(want, p) })
}

// routes moves every prefix to the interface on which its peer has proven to answer.
func (d *differ) routes() {
	wanted := map[netip.Prefix]Route{}
	for _, r := range d.wantedRoutes() {
		wanted[r.Prefix] = r
	}
	right := map[netip.Prefix]bool{}
	for _, r := range d.state.Routes {
		switch want, ok := wanted[r.Prefix]; {
		case !ok:
			d.unroute = append(d.unroute, DelRoute{Route: r})
		case want == r:
			right[r.Prefix] = true
		}
	}
	for _, r := range d.wantedRoutes() {
		if !right[r.Prefix] {
			d.move = append(d.move, SetRoute{Route: r})
		}
	}
}

func (d *differ) wantedRoutes() []Route {
	var out []Route
	for _, prefix := range []netip.Prefix{d.plan.Mesh.Overlay, d.plan.Mesh.Overlay6} {
		out = d.wantRoute(out, Route{Prefix: prefix})
	}
	for i := range d.plan.Peers {
		peer := &d.plan.Peers[i]
		link := d.linkTo(peer)
		if link == "" {
			continue
		}
		for _, prefix := range peer.Prefixes {
			source := d.plan.Self.Address
			if prefix.Addr().Is6() {
				source = d.plan.Self.Address6
			}
			out = d.wantRoute(out, Route{Prefix: prefix, Link: link, Source: source})
		}
	}
	return out
}

// wantRoute appends the route unless the host cannot have it.
func (d *differ) wantRoute(out []Route, r Route) []Route {
	if !r.Prefix.IsValid() || r.Prefix.Addr().Is6() && !d.state.IPv6 {
		return out
	}
	if _, taken := conflict(r.Prefix, d.state.Foreign); taken {
		return out
	}
	return append(out, r)
}

// linkTo is the interface that traffic to a peer takes: the newest generation on which it has answered,
// or the oldest that both have while it has answered on none.
func (d *differ) linkTo(peer *Peer) string {
	link := ""
	for _, in := range d.plan.Interfaces {
		k, ok := peer.Key(in.Generation)
		if !ok {
			continue
		}
		if link == "" || d.proven(in.Name, k) {
			link = in.Name
		}
	}
	return link
}

func (d *differ) proven(link string, k key.Public) bool {
	l, ok := d.state.LinkNamed(link)
	if !ok {
		return false
	}
	p, ok := l.Peer(k)
	return ok && !p.LastHandshake.IsZero()
}

// sweep removes interfaces that are not in the plan.
func (d *differ) sweep() {
	for _, l := range d.state.Links {
		planned := slices.ContainsFunc(d.plan.Interfaces, func(in Interface) bool { return in.Name == l.Name })
		if !planned {
			d.shrink = append(d.shrink, DelLink{Name: l.Name})
		}
	}
}
