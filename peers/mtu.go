package peers

import "net/netip"

// What a tunnel adds to a packet: the outer IP header, 8 bytes of UDP, 16 of WireGuard's own header and 16
// of authentication (WireGuard paper §5.4.6).
const (
	Overhead4 = 20 + 8 + 16 + 16
	Overhead6 = 40 + 8 + 16 + 16
)

// The least that a link or a route may take: IPv6 needs 1280 (RFC 8200 §5), every IPv4 host takes 576.
const (
	LeastMTU  = 1280
	leastMTU4 = 576
)

// Fits is the largest packet that fits into one packet of the way to the peer's endpoint; 0 where that is
// not known.
func (p *LinkPeer) Fits() int {
	switch {
	case p.Path == 0 || !p.Endpoint.IsValid():
		return 0
	case p.Endpoint.Addr().Is4():
		return p.Path - Overhead4
	}
	return p.Path - Overhead6
}

// padding is what WireGuard fills packets up to a multiple of, as long as they stay within the MTU of the
// link (WireGuard paper §5.4.6).
const padding = 16

// Padded is the largest packet that is no larger than a size after it was padded, on a link that takes more.
func Padded(size int) int { return size / padding * padding }

// linkMTU is the largest packet that fits to any peer, and no more than planned. So a host whose uplink is
// narrow has a narrow interface, and one bad way among good ones narrows only the routes to its peer.
func linkMTU(want *Interface, have *Link) int {
	most := 0
	for i := range have.Peers {
		most = max(most, have.Peers[i].Fits())
	}
	if most == 0 {
		return want.MTU
	}
	return min(max(most, LeastMTU), want.MTU)
}

// routeMTU is that of the routes to a peer through a link: 0 where the link's own will do. A way that was
// not tried from inside yet is not believed to have become wider.
func (d *differ) routeMTU(peer *Peer, link string, prefix netip.Prefix) int {
	most, fits := d.mtu[link], d.mtu[link]
	if known := d.fits(peer, link); known != 0 && known < most {
		fits = Padded(known)
	}
	found, tried := d.plan.Found[peer.ID]
	if !tried {
		found = d.narrow[prefix]
	}
	if found != 0 {
		fits = min(fits, found)
	}
	least := leastMTU4
	if prefix.Addr().Is6() {
		least = LeastMTU
	}
	if fits = max(fits, least); fits >= most {
		return 0
	}
	return fits
}

// fits is LinkPeer.Fits of a peer on a link; 0 where it is not there yet.
func (d *differ) fits(peer *Peer, link string) int {
	l := d.links[link]
	for _, in := range d.plan.Interfaces {
		if k, ok := peer.Key(in.Generation); ok && in.Name == link && l != nil {
			if p := l.find(k); p != nil {
				return p.Fits()
			}
		}
	}
	return 0
}

// narrowRoutes are the MTUs of the routes to peers that have one of their own.
func narrowRoutes(routes []Route) map[netip.Prefix]int {
	out := map[netip.Prefix]int{}
	for _, r := range routes {
		if r.MTU != 0 {
			out[r.Prefix] = r.MTU
		}
	}
	return out
}
