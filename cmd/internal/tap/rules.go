package tap

import (
	"net/netip"
	"slices"
)

// rules say what a packet must be to count as a tunnel's or the controller's.
type rules struct {
	wireguard  []uint16
	controller []netip.AddrPort
	longest    int // payload of a datagram that the link carries in one packet
}

// tunnel reports whether both ends are ports of tunnels.
func (r rules) tunnel(p packet) bool {
	return slices.Contains(r.wireguard, p.from.Port()) && slices.Contains(r.wireguard, p.to.Port())
}

// control reports whether one end is the controller.
func (r rules) control(p packet) bool {
	return slices.Contains(r.controller, p.from) || slices.Contains(r.controller, p.to)
}

// kind says what a packet is by itself, how many packets of a wire it stands for, and which sort of housekeeping it
// is. Of the control channel it tells only that the packet goes there.
func (r rules) kind(p packet) (k Kind, n int, sort string) {
	if sort := r.housekeeping(p); sort != "" {
		return Housekeeping, 1, sort
	}
	switch {
	case p.fault != "":
		return Other, 1, ""
	case p.protocol == protoUDP && r.tunnel(p):
		k, n = wireguardMessages(p.payload, r.longest)
		return k, n, ""
	case p.protocol == protoTCP && r.control(p):
		return Control, 1, ""
	}
	return Other, 1, ""
}
