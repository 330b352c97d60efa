package peers_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// A kernel is a host's network with the semantics of Linux and WireGuard as far as steps touch them: an
// allowed IP belongs to one peer of an interface, links take their routes along, a route needs a link
// that is up and a source address that is there.
type kernel struct {
	links   map[string]*kernelLink
	routes  map[netip.Prefix]peers.Route
	nowhere map[netip.Prefix]bool // unreachable routes, behind the others
	foreign []peers.Foreign
	guard   peers.Table
	ipv6    bool
	forward map[string]peers.Forwarding // by link
}

type kernelLink struct {
	up        bool
	mtu       int
	rpFilter  int
	addresses map[netip.Prefix]bool
	public    key.Public
	port      uint16
	peers     map[key.Public]*peers.LinkPeer
	owner     map[netip.Prefix]key.Public // of allowed IPs
}

func newKernel() *kernel {
	return &kernel{links: map[string]*kernelLink{}, routes: map[netip.Prefix]peers.Route{}, nowhere: map[netip.Prefix]bool{}, ipv6: true}
}

func newKernelLink(mtu int) *kernelLink {
	return &kernelLink{
		mtu: mtu, addresses: map[netip.Prefix]bool{},
		peers: map[key.Public]*peers.LinkPeer{}, owner: map[netip.Prefix]key.Public{},
	}
}

// state is what an agent observes.
func (k *kernel) state() peers.State {
	s := peers.State{Foreign: k.foreign, IPv6: k.ipv6, Guard: k.guard}
	for _, name := range slices.Sorted(maps.Keys(k.links)) {
		l := k.links[name]
		out := peers.Link{
			Name: name, Up: l.up, MTU: l.mtu, RPFilter: l.rpFilter, Backend: "kernel", Public: l.public, Port: l.port,
			Addresses: slices.SortedFunc(maps.Keys(l.addresses), comparePrefixes),
		}
		for _, p := range slices.SortedFunc(maps.Keys(l.peers), func(a, b key.Public) int { return slices.Compare(a[:], b[:]) }) {
			peer := *l.peers[p]
			peer.Allowed = l.allowed(p)
			out.Peers = append(out.Peers, peer)
		}
		s.Links = append(s.Links, out)
	}
	for _, link := range slices.Sorted(maps.Keys(k.forward)) {
		s.Forwarding = append(s.Forwarding, k.forward[link])
	}
	for _, p := range slices.SortedFunc(maps.Keys(k.routes), comparePrefixes) {
		s.Routes = append(s.Routes, k.routes[p])
	}
	for _, p := range slices.SortedFunc(maps.Keys(k.nowhere), comparePrefixes) {
		s.Routes = append(s.Routes, peers.Route{Prefix: p})
	}
	return s
}

func (l *kernelLink) allowed(p key.Public) (out []netip.Prefix) {
	for prefix, owner := range l.owner {
		if owner == p {
			out = append(out, prefix)
		}
	}
	slices.SortFunc(out, comparePrefixes)
	return out
}

func comparePrefixes(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) }

// apply takes one step. What a real kernel would refuse is an error.
func (k *kernel) apply(step peers.Step) error {
	switch s := step.(type) {
	case peers.AddLink:
		if k.links[s.Name] != nil {
			return fmt.Errorf("link %s is there already", s.Name)
		}
		k.links[s.Name] = newKernelLink(s.MTU)
		return nil
	case peers.DelLink:
		return k.delLink(s.Name)
	case peers.SetRoute:
		return k.setRoute(s.Route)
	case peers.DelRoute:
		return k.delRoute(s.Route)
	case peers.SetForwarding:
		return k.setForwarding(s)
	case peers.SetGuard:
		k.guard = peers.Table{There: true, Digest: s.Guard.Digest()}
		return nil
	case peers.DelGuard:
		k.guard = peers.Table{}
		return nil
	case peers.SetDevice:
		return k.onLink(s.Link, func(l *kernelLink) error { return l.setDevice(s) })
	case peers.SetLink:
		return k.onLink(s.Name, func(l *kernelLink) error { return l.setLink(s) })
	case peers.SetRPFilter:
		return k.onLink(s.Link, func(l *kernelLink) error { l.rpFilter = peers.LooseRPFilter; return nil })
	case peers.AddAddress:
		return k.onLink(s.Link, func(l *kernelLink) error { l.addresses[s.Prefix] = true; return nil })
	case peers.DelAddress:
		return k.onLink(s.Link, func(l *kernelLink) error { return k.delAddress(l, s.Prefix) })
	case peers.SetPeer:
		return k.onLink(s.Link, func(l *kernelLink) error { return l.setPeer(s) })
	case peers.DelPeer:
		return k.onLink(s.Link, func(l *kernelLink) error { l.delPeer(s.Key); return nil })
	}
	return fmt.Errorf("unknown step %T", step)
}

// setForwarding needs a link of ours, or one on which the host has a network.
func (k *kernel) setForwarding(s peers.SetForwarding) error {
	if k.links[s.Link] == nil && !slices.ContainsFunc(k.foreign, func(f peers.Foreign) bool { return f.Link == s.Link }) {
		return fmt.Errorf("there is no link %s", s.Link)
	}
	if k.forward == nil {
		k.forward = map[string]peers.Forwarding{}
	}
	f := k.forward[s.Link]
	f.Link = s.Link
	if s.IPv6 {
		f.IPv6, f.Ours6 = s.On, s.On
	} else {
		f.IPv4, f.Ours4 = s.On, s.On
	}
	k.forward[s.Link] = f
	return nil
}

func (k *kernel) onLink(name string, do func(*kernelLink) error) error {
	l := k.links[name]
	if l == nil {
		return fmt.Errorf("there is no link %s", name)
	}
	return do(l)
}

func (k *kernel) delLink(name string) error {
	l := k.links[name]
	if l == nil {
		return fmt.Errorf("there is no link %s", name)
	}
	delete(k.links, name)
	delete(k.forward, name)
	maps.DeleteFunc(k.routes, func(_ netip.Prefix, r peers.Route) bool { return r.Link == name })
	for a := range l.addresses {
		k.dropSource(a.Addr())
	}
	return nil
}

func (k *kernel) delAddress(l *kernelLink, p netip.Prefix) error {
	if !l.addresses[p] {
		return fmt.Errorf("there is no address %v", p)
	}
	delete(l.addresses, p)
	k.dropSource(p.Addr())
	return nil
}

// dropSource drops the routes that prefer a source address which no link has any more.
func (k *kernel) dropSource(a netip.Addr) {
	if !k.local(a) {
		maps.DeleteFunc(k.routes, func(_ netip.Prefix, r peers.Route) bool { return r.Source == a })
	}
}

func (k *kernel) local(a netip.Addr) bool {
	for _, l := range k.links {
		if l.addresses[netip.PrefixFrom(a, a.BitLen())] {
			return true
		}
	}
	return false
}

func (k *kernel) setRoute(r peers.Route) error {
	if r.Link == "" {
		k.nowhere[r.Prefix] = true
		return nil
	}
	l := k.links[r.Link]
	switch {
	case l == nil || !l.up:
		return fmt.Errorf("no link for route %v", r)
	case r.Source.IsValid() && !k.local(r.Source):
		return fmt.Errorf("no source for route %v", r)
	}
	k.routes[r.Prefix] = r
	return nil
}

func (k *kernel) delRoute(r peers.Route) error {
	switch {
	case r.Link == "" && k.nowhere[r.Prefix]:
		delete(k.nowhere, r.Prefix)
	case r.Link != "" && k.routes[r.Prefix] == r:
		delete(k.routes, r.Prefix)
	default:
		return fmt.Errorf("there is no route %v", r)
	}
	return nil
}

// setDevice changes the key, which ends all sessions, and keeps peers.
func (l *kernelLink) setDevice(s peers.SetDevice) error {
	if s.Private.IsZero() {
		return fmt.Errorf("no private key for %s", s.Link)
	}
	if public := s.Private.Public(); public != l.public {
		l.public = public
		l.delPeer(public) // a peer cannot be the host itself
	}
	l.port = s.Port
	return nil
}

func (l *kernelLink) setLink(s peers.SetLink) error {
	if s.MTU != 0 {
		l.mtu = s.MTU
	}
	l.up = l.up || s.Up
	return nil
}

func (l *kernelLink) setPeer(s peers.SetPeer) error {
	p := l.peers[s.Key]
	if (p == nil) != s.New {
		return fmt.Errorf("peer %v of %s: there is %v, New is %v", s.Key, s.Link, p != nil, s.New)
	}
	if p == nil {
		p = &peers.LinkPeer{Key: s.Key}
		l.peers[s.Key] = p
	}
	if s.PSK != nil {
		p.PSK = *s.PSK
	}
	if s.Endpoint.IsValid() {
		p.Endpoint = s.Endpoint
	}
	if s.Keepalive != nil {
		p.Keepalive = *s.Keepalive
	}
	if s.ReplaceAllowed {
		maps.DeleteFunc(l.owner, func(_ netip.Prefix, owner key.Public) bool { return owner == s.Key })
	}
	for _, prefix := range s.Allowed {
		l.owner[prefix] = s.Key
	}
	return nil
}

// delPeer removes a peer. WireGuard says nothing where there is none.
func (l *kernelLink) delPeer(k key.Public) {
	delete(l.peers, k)
	maps.DeleteFunc(l.owner, func(_ netip.Prefix, owner key.Public) bool { return owner == k })
}

// route is the link that packets to an address take; empty for none.
func (k *kernel) route(to netip.Addr) string {
	best, link := -1, ""
	for prefix, r := range k.routes {
		if prefix.Contains(to) && prefix.Bits() > best {
			best, link = prefix.Bits(), r.Link
		}
	}
	for prefix := range k.nowhere {
		if prefix.Contains(to) && prefix.Bits() > best {
			best, link = prefix.Bits(), ""
		}
	}
	return link
}

// flows gives link and key of the peer that packets to an address reach in a session; false where they
// do not arrive anywhere.
func (k *kernel) flows(to netip.Addr) (link string, peer key.Public, ok bool) {
	link = k.route(to)
	l := k.links[link]
	if l == nil || !l.up {
		return "", key.Public{}, false
	}
	best := -1
	for prefix, owner := range l.owner {
		if prefix.Contains(to) && prefix.Bits() > best {
			best, peer = prefix.Bits(), owner
		}
	}
	p := l.peers[peer]
	return link, peer, p != nil && !p.LastHandshake.IsZero()
}

// handshake lets two hosts shake hands on a link if both have what that takes.
func handshake(link string, a, b *kernel, now time.Time) bool {
	la, lb := a.links[link], b.links[link]
	if la == nil || lb == nil || !la.up || !lb.up {
		return false
	}
	pa, pb := la.peers[lb.public], lb.peers[la.public]
	if pa == nil || pb == nil || !pa.PSK.Equal(pb.PSK) {
		return false
	}
	reachable := pa.Endpoint.IsValid() && pa.Keepalive > 0 || pb.Endpoint.IsValid() && pb.Keepalive > 0
	if reachable {
		pa.LastHandshake, pb.LastHandshake = now, now
	}
	return reachable
}
