package peers

import (
	"net/netip"
	"time"

	"github.com/warren-mesh/warren/peers/key"
)

// RouteProtocol marks routes as ours in the kernel (rtm_protocol of rtnetlink(7)).
const RouteProtocol = 119

// LooseRPFilter is the rp_filter of our links. During a rotation packets of a peer come in on one and the
// answers leave by the other, which a strict filter (1) drops. Loose (2) is the highest value, so that it
// counts whatever the setting for all interfaces is, and it asks for an address on the link, which ours have.
const LooseRPFilter = 2

// A State is what the kernel of a host has now.
type State struct {
	Links   []Link    // named wrn0, wrn1, wrnx
	Routes  []Route   // with our RouteProtocol
	Foreign []Foreign // what others route, without default, multicast and link-local routes
	Guard   Table     // the nftables table
	IPv6    bool      // the kernel does IPv6
	// Forwarding is of all links but the loopback.
	Forwarding []Forwarding
	Forward6   Forward6
	// Redirects says that net.ipv4.conf.all.send_redirects was on until the kernel's WireGuard turned it off for an
	// interface of ours.
	Redirects bool
	// Doubling are the tables by which packets are sent a second time.
	Doubling Table
	Local    []Local // addresses of the host on links that are not ours, without link-local ones
	// Knocks are the addresses from which somebody has begun a handshake in the last moments.
	Knocks []netip.Addr
}

// A Link is a tunnel interface as it is.
type Link struct {
	Name      string
	Index     int
	Up        bool
	MTU       int
	RPFilter  int            // its own setting; what counts is the higher of it and that of all interfaces
	Backend   string         // "kernel", "userspace"; empty for a link of another type in our name
	Addresses []netip.Prefix // without link-local ones
	Public    key.Public
	Port      uint16
	Peers     []LinkPeer
}

// A LinkPeer is a WireGuard peer as it is.
type LinkPeer struct {
	Key           key.Public
	PSK           key.Preshared
	Endpoint      netip.AddrPort // owned by the kernel: it follows a roaming peer
	Keepalive     int            // seconds, 0 for off
	Allowed       []netip.Prefix
	LastHandshake time.Time // zero for never
	Rx, Tx        uint64    // bytes
	Path          int       // MTU of the way to the endpoint as the host's routes tell it; 0 for unknown
}

// A Route is one of ours: through a link, or nowhere.
type Route struct {
	Prefix netip.Prefix
	Link   string     // empty: unreachable, so that nothing for the mesh leaves by a default route
	Source netip.Addr // preferred source address
	MTU    int        // 0 for that of the link
}

// A Foreign is a network that somebody else routes on this host.
type Foreign struct {
	Prefix netip.Prefix
	Link   string
	// Connected says that it is there for an address that the host has in it.
	Connected bool
	// Down says that its link has no carrier.
	Down bool
}

// A Local is an address of the host on a link that is not ours.
type Local struct {
	Prefix netip.Prefix // the address, and the length of its network
	Link   string
	// Virtual says that it is ours: the virtual address of a site, by its label or protocol.
	Virtual bool
}

// LinkNamed finds a link of the state.
func (s *State) LinkNamed(name string) (*Link, bool) {
	for i := range s.Links {
		if s.Links[i].Name == name {
			return &s.Links[i], true
		}
	}
	return nil, false
}

// Peer finds a peer of the link by its key.
func (l *Link) Peer(k key.Public) (*LinkPeer, bool) {
	for i := range l.Peers {
		if l.Peers[i].Key == k {
			return &l.Peers[i], true
		}
	}
	return nil, false
}
