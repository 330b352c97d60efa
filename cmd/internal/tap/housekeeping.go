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
	var protocol byte
	var from, to netip.Addr
	switch {
	case ether == etherIPv4 && len(b) >= 20 && len(b) >= int(b[0]&0xf)*4:
		protocol, from, to = b[9], netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		b = b[int(b[0]&0xf)*4:]
	case ether == etherIPv6 && len(b) >= 40:
		protocol, from, to = b[6], netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		b = b[40:]
	}
	if len(b) < 8 || !from.IsValid() {
		return false
	}
	quoted := packet{from: netip.AddrPortFrom(from, 0), to: netip.AddrPortFrom(to, 0)}
	quoted.ports(b)
	switch protocol {
	case protoUDP:
		kind, _ := wireguardMessages(b[8:], len(b))
		cut := len(b)-8 < int(binary.BigEndian.Uint16(b[4:]))-8
		return r.tunnel(quoted) && (kind != Other || cut && len(b) > 8 && b[8] <= typeData)
	case protoTCP:
		return r.control(quoted)
	}
	return false
}
