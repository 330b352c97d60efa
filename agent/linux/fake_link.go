package linux

import (
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// handshakeSize is that of the longer of the two messages of a handshake, in bytes.
const handshakeSize = 148

// A fakeLink is a WireGuard interface of a Fake.
type fakeLink struct {
	name      string
	index     int
	mtu       int
	rpFilter  int
	up        bool
	foreign   bool // no WireGuard interface, or nobody answers for it
	addresses []netip.Prefix
	public    key.Public
	port      uint16
	peers     []*peers.LinkPeer // by key
	owner     map[netip.Prefix]*peers.LinkPeer
}

func (l *fakeLink) observe() peers.Link {
	out := peers.Link{
		Name: l.name, Index: l.index, Up: l.up, MTU: l.mtu, RPFilter: l.rpFilter, Backend: InKernel,
		Addresses: slices.Clone(l.addresses), Public: l.public, Port: l.port,
		Peers: make([]peers.LinkPeer, len(l.peers)),
	}
	if l.foreign {
		out.Backend = ""
	}
	for i, p := range l.peers {
		out.Peers[i] = *p // Allowed is replaced, never changed
	}
	return out
}

func (l *fakeLink) search(k key.Public) (int, bool) {
	return slices.BinarySearchFunc(l.peers, k, func(p *peers.LinkPeer, k key.Public) int {
		return slices.Compare(p.Key[:], k[:])
	})
}

func (l *fakeLink) find(k key.Public) *peers.LinkPeer {
	if i, ok := l.search(k); ok {
		return l.peers[i]
	}
	return nil
}

// set does what a kernel does with a message about one peer. A change to a peer that is not there, and a
// peer with the interface's own key, are passed over without a word.
func (l *fakeLink) set(s *peers.SetPeer) {
	if s.Key == l.public {
		return
	}
	i, ok := l.search(s.Key)
	if !ok && !s.New {
		return
	}
	if !ok {
		l.peers = slices.Insert(l.peers, i, &peers.LinkPeer{Key: s.Key})
	}
	p := l.peers[i]
	if s.PSK != nil {
		p.PSK = key.PresharedFromBytes(s.PSK.ExposeBytes())
	}
	if s.Endpoint.IsValid() {
		p.Endpoint = s.Endpoint
	}
	if s.Keepalive != nil {
		p.Keepalive = *s.Keepalive
	}
	if s.ReplaceAllowed {
		l.disown(p)
	}
	l.allow(p, s.Allowed)
}

// allow gives prefixes to a peer, from whomever had them.
func (l *fakeLink) allow(p *peers.LinkPeer, prefixes []netip.Prefix) {
	if len(prefixes) == 0 {
		return
	}
	allowed := slices.Clone(p.Allowed)
	for _, prefix := range prefixes {
		prefix = prefix.Masked()
		had := l.owner[prefix]
		if had == p {
			continue
		}
		if had != nil {
			had.Allowed = slices.DeleteFunc(slices.Clone(had.Allowed), func(o netip.Prefix) bool { return o == prefix })
		}
		l.owner[prefix] = p
		allowed = append(allowed, prefix)
	}
	p.Allowed = allowed
}

func (l *fakeLink) disown(p *peers.LinkPeer) {
	for _, prefix := range p.Allowed {
		delete(l.owner, prefix)
	}
	p.Allowed = nil
}

func (l *fakeLink) remove(k key.Public) {
	if i, ok := l.search(k); ok {
		l.disown(l.peers[i])
		l.peers = slices.Delete(l.peers, i, i+1)
	}
}

// setKey changes the interface's key. A peer with the same key goes; the others stay, with all they have.
func (l *fakeLink) setKey(public key.Public) {
	l.public = public
	l.remove(public)
}
