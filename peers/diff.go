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
//
// A secret that the plan lacks is not wiped from the kernel: an interface for which there is no private
// key is not made, or keeps the key that it has, and so does a peer its pre-shared key.
func Diff(s State, p Plan) []Step {
	d := newDiffer(s, p)
	d.guard()
	d.double()
	for i := range p.Interfaces {
		d.link(&p.Interfaces[i])
	}
	for i := range p.Interfaces {
		d.peers(&p.Interfaces[i])
	}
	d.forwarding()
	d.routes()
	d.virtual()
	d.sweep()
	return slices.Concat(d.build, d.move, d.unroute, d.shrink)
}

type differ struct {
	state                        State
	plan                         Plan
	links                        map[string]*linkIndex
	own                          []netip.Prefix // the addresses that the host can have
	behind                       map[HostID][]netip.Prefix
	tunnelled                    []netip.Prefix
	mtu                          map[string]int       // of links, as they are to be
	narrow                       map[netip.Prefix]int // MTUs of routes, as they are
	public                       map[Generation]key.Public
	build, move, unroute, shrink []Step
}

func newDiffer(s State, p Plan) *differ {
	d := &differ{state: s, plan: p, links: indexLinks(s.Links), mtu: map[string]int{}, narrow: narrowRoutes(s.Routes)}
	d.own, d.behind, d.tunnelled = d.addresses(), d.plan.Behind(), d.plan.tunnelled()
	return d
}

// A linkIndex finds the peers of a link.
type linkIndex struct {
	*Link
	byKey map[key.Public]int // in Peers
}

func (l *linkIndex) find(k key.Public) *LinkPeer {
	if i, ok := l.byKey[k]; ok {
		return &l.Peers[i]
	}
	return nil
}

func indexLinks(links []Link) map[string]*linkIndex {
	out := make(map[string]*linkIndex, len(links))
	for i := range links {
		l := &linkIndex{Link: &links[i], byKey: make(map[key.Public]int, len(links[i].Peers))}
		for j := range l.Peers {
			l.byKey[l.Peers[j].Key] = j
		}
		out[l.Name] = l
	}
	return out
}

// has reports whether the host has an interface, or can make it.
func (d *differ) has(in *Interface) bool {
	return d.links[in.Name] != nil || !d.plan.Private[in.Generation].IsZero()
}

// link makes the interface itself right.
func (d *differ) link(want *Interface) {
	if !d.has(want) {
		return
	}
	have := &Link{MTU: want.MTU}
	if l := d.links[want.Name]; l != nil {
		have = l.Link
	} else {
		d.build = append(d.build, AddLink{Name: want.Name, MTU: want.MTU})
	}
	mtu := linkMTU(want, have)
	d.mtu[want.Name] = mtu
	private := d.plan.Private[want.Generation]
	d.endSessions(want)
	if !private.IsZero() && (have.Public != d.publicOf(want.Generation) || have.Port != want.Port) {
		d.build = append(d.build, SetDevice{Link: want.Name, Private: private, Port: want.Port})
	}
	if have.MTU != mtu {
		d.build = append(d.build, SetLink{Name: want.Name, MTU: mtu})
	}
	if have.RPFilter != LooseRPFilter {
		d.build = append(d.build, SetRPFilter{Link: want.Name})
	}
	for _, a := range d.own {
		if !slices.Contains(have.Addresses, a) {
			d.build = append(d.build, AddAddress{Link: want.Name, Prefix: a})
		}
	}
	for _, a := range have.Addresses {
		if !slices.Contains(d.own, a) {
			d.shrink = append(d.shrink, DelAddress{Link: want.Name, Prefix: a})
		}
	}
	if !have.Up {
		d.build = append(d.build, SetLink{Name: want.Name, Up: true})
	}
}

// rekeys reports whether an interface gets another private key than it has: it is that of a generation
// which is over, or its key was lost.
func (d *differ) rekeys(want *Interface, have *linkIndex) bool {
	own := d.publicOf(want.Generation)
	return !own.IsZero() && !have.Public.IsZero() && have.Public != own
}

// publicOf is the host's public key of a generation; zero where it has none. To compute it takes a while.
func (d *differ) publicOf(g Generation) key.Public {
	if public, known := d.public[g]; known {
		return public
	}
	if d.public == nil {
		d.public = map[Generation]key.Public{}
	}
	d.public[g] = d.plan.Private[g].Public()
	return d.public[g]
}

// endSessions removes the peers of an interface that gets another key. Their sessions end with the key, but
// what the kernel remembers of them would pass for a proof.
func (d *differ) endSessions(want *Interface) {
	have := d.links[want.Name]
	if have == nil || !d.rekeys(want, have) {
		return
	}
	for i := range have.Peers {
		d.build = append(d.build, DelPeer{Link: want.Name, Key: have.Peers[i].Key})
	}
}

// addresses are on every interface, so that applications never notice a switch between them. One that lies in a
// network of the host's own is on none.
func (d *differ) addresses() (out []netip.Prefix) {
	for _, a := range []netip.Addr{d.plan.Self.Address, d.plan.Self.Address6} {
		if d.hasAddress(a) {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return out
}

// hasAddress reports whether the host can have one of its mesh addresses.
func (d *differ) hasAddress(own netip.Addr) bool {
	_, taken := addressTaken(own, d.state.Foreign)
	return own.IsValid() && !taken && (own.Is4() || d.state.IPv6)
}

// sweep removes interfaces that are not in the plan. What the kernel has done to the host for the sake of interfaces is
// undone when there is to be none.
func (d *differ) sweep() {
	for _, l := range d.state.Links {
		planned := slices.ContainsFunc(d.plan.Interfaces, func(in Interface) bool { return in.Name == l.Name })
		if !planned {
			d.shrink = append(d.shrink, DelLink{Name: l.Name})
		}
	}
	if d.state.Redirects && len(d.plan.Interfaces) == 0 {
		d.shrink = append(d.shrink, RestoreRedirects{})
	}
}
