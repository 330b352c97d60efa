package tap

import (
	"encoding/binary"
	"net/netip"
)

// housekeeping names what a packet does for the link, "" if it does nothing of the kind. Each sort is checked for what
// keeps it on the link, or ties it to a packet that was allowed: none of them is a way for anything else.
func (r rules) housekeeping(p packet) string {
	switch {
	case p.fault != "":
		return ""
	case p.ether == etherARP:
		return arp(p.payload)
	case p.protocol == protoIGMP && p.hops == 1:
		return "multicast membership"
	case p.protocol == protoICMP && len(p.payload) >= 8:
		return r.quotation(p, 3, 11, 12)
	case p.protocol == protoICMPv6 && len(p.payload) >= 8:
		return r.icmpv6(p)
	}
	return ""
}

// arp wants requests and replies about IPv4 over Ethernet, with nothing but padding behind them.
func arp(b []byte) string {
	const length, ethernetIPv4 = 28, 0x0001_0800_06_04
	if len(b) < length || binary.BigEndian.Uint64(b)>>16 != ethernetIPv4 || (b[7] != 1 && b[7] != 2) || b[6] != 0 {
		return ""
	}
	for _, padding := range b[length:] {
		if padding != 0 {
			return ""
		}
	}
	return "ARP"
}

func (r rules) icmpv6(p packet) string {
	const onLink = 255 // the hop limit that no router has lowered
	switch kind := p.payload[0]; {
	case (kind == 133 || kind == 134) && p.hops == onLink:
		return "router discovery"
	case (kind == 135 || kind == 136) && p.hops == onLink:
		return "neighbour discovery"
	case (kind == 130 || kind == 131 || kind == 132 || kind == 143) && p.hops == 1:
		return "multicast membership"
	}
	return r.quotation(p, 1, 2, 3, 4)
}

// quotation recognises an error message about a packet that was allowed, which it quotes the beginning of.
func (r rules) quotation(p packet, errors ...byte) string {
	const header = 8
	for _, kind := range errors {
		if p.payload[0] == kind && r.allowedQuote(p.ether, p.payload[header:]) {
			return "ICMP error about a tunnel or control packet"
		}
	}
	return ""
}

// allowedQuote looks at the addresses and ports of a packet that may be cut short.
func (r rules) allowedQuote(ether uint16, b []byte) bool {
	p, ok := quoted(ether, b)
	if !ok {
		return false
	}
	switch p.protocol {
	case protoUDP:
		const header = 8
		length := int(binary.BigEndian.Uint16(p.payload[4:]))
		message := p.payload[header:]
		if kind, _ := wireguardMessages(message, len(message)); kind != Other {
			return r.tunnel(p)
		}
		cut := len(p.payload) < length && len(message) > 0 && message[0] <= typeData
		return cut && r.tunnel(p)
	case protoTCP:
		return r.control(p)
	}
	return false
}

// quoted takes apart as much of a packet as errors quote at least: the header of IP, and eight bytes that follow, of
// which the first four are the ports. They and what comes behind them are the payload.
func quoted(ether uint16, b []byte) (p packet, ok bool) {
	const ports = 8
	var from, to netip.Addr
	switch {
	case ether == etherIPv4 && len(b) >= 20 && len(b) >= int(b[0]&0xf)*4+ports:
		p.protocol, p.payload = b[9], b[int(b[0]&0xf)*4:]
		from, to = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	case ether == etherIPv6 && len(b) >= 40+ports:
		p.protocol, p.payload = b[6], b[40:]
		from, to = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	default:
		return packet{}, false
	}
	p.from, p.to = netip.AddrPortFrom(from, 0), netip.AddrPortFrom(to, 0)
	p.ports(p.payload)
	return p, true
}
