package tap

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Numbers of the protocols that are told apart.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd

	protoICMP   = 1
	protoIGMP   = 2
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

const etherHeader = 14

// A packet is a frame taken apart as far as it can be. Its slices lie in the frame.
type packet struct {
	ether    uint16
	protocol uint8          // of IP; 0 where fault is set before it is known
	hops     uint8          // time to live, or hop limit
	from, to netip.AddrPort // ports of TCP and UDP, else 0
	tcp      segment        // of TCP
	payload  []byte         // of TCP and UDP, else all behind the last header that was understood
	fault    string         // why it was not taken apart further
}

// A segment is what TCP says of its payload.
type segment struct {
	seq uint32
	syn bool
}

// String names the packet for people.
func (p packet) String() string {
	switch {
	case p.ether == etherARP:
		return "ARP"
	case !p.to.Addr().IsValid():
		return fmt.Sprintf("EtherType %#04x %s", p.ether, p.fault)
	}
	text := fmt.Sprintf("%s %v → %v", protocolName(p.protocol), p.from.Addr(), p.to.Addr())
	if p.from.Port() != 0 || p.to.Port() != 0 {
		text = fmt.Sprintf("%s %v → %v", protocolName(p.protocol), p.from, p.to)
	}
	if p.fault != "" {
		text += " " + p.fault
	}
	return text
}

func protocolName(n uint8) string {
	names := map[uint8]string{
		protoICMP: "ICMP", protoIGMP: "IGMP", protoTCP: "TCP", protoUDP: "UDP", protoICMPv6: "ICMPv6",
	}
	if name, ok := names[n]; ok {
		return name
	}
	return fmt.Sprintf("IP protocol %d", n)
}

// decodeFrame takes an Ethernet frame apart.
func decodeFrame(frame []byte) packet {
	if len(frame) < etherHeader {
		return packet{fault: "(shorter than its header)"}
	}
	rest := frame[etherHeader:]
	p := packet{ether: binary.BigEndian.Uint16(frame[12:]), payload: rest}
	switch p.ether {
	case etherIPv4:
		p.decodeIPv4(rest)
	case etherIPv6:
		p.decodeIPv6(rest)
	}
	return p
}

func (p *packet) decodeIPv4(b []byte) {
	if len(b) < 20 || b[0]>>4 != 4 {
		p.fault = "(no IPv4 header)"
		return
	}
	p.from = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), 0)
	p.to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), 0)
	p.protocol, p.hops = b[9], b[8]
	header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < 20 || total < header || total > len(b) {
		p.fault = "(wrong length)"
		return
	}
	const moreFragments, offset = 0x2000, 0x1fff
	if binary.BigEndian.Uint16(b[6:])&(moreFragments|offset) != 0 {
		p.fault, p.payload = "(fragment)", b[header:total]
		return
	}
	p.decodeTransport(b[header:total])
}

// maxExtensions is how many extension headers of IPv6 are followed; nobody has use for more.
const maxExtensions = 8

func (p *packet) decodeIPv6(b []byte) {
	const header, hopByHop, routing, fragment, destination = 40, 0, 43, 44, 60
	if len(b) < header || b[0]>>4 != 6 {
		p.fault = "(no IPv6 header)"
		return
	}
	p.from = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), 0)
	p.to = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[24:40])), 0)
	p.protocol, p.hops = b[6], b[7]
	length := int(binary.BigEndian.Uint16(b[4:]))
	if length > len(b)-header {
		p.fault = "(wrong length)"
		return
	}
	rest := b[header : header+length]
	for range maxExtensions {
		switch p.protocol {
		case fragment:
			p.fault, p.payload = "(fragment)", rest
			return
		case hopByHop, routing, destination:
			if len(rest) < 8 || len(rest) < (int(rest[1])+1)*8 {
				p.fault = "(wrong length)"
				return
			}
			p.protocol, rest = rest[0], rest[(int(rest[1])+1)*8:]
		default:
			p.decodeTransport(rest)
			return
		}
	}
	p.fault = "(too many extension headers)"
}

func (p *packet) decodeTransport(b []byte) {
	p.payload = b
	switch p.protocol {
	case protoUDP:
		p.decodeUDP(b)
	case protoTCP:
		p.decodeTCP(b)
	}
}

func (p *packet) decodeUDP(b []byte) {
	if len(b) < 8 {
		p.fault = "(wrong length)"
		return
	}
	p.ports(b)
	if int(binary.BigEndian.Uint16(b[4:])) != len(b) {
		p.fault = "(wrong length)" // bytes behind a datagram are a place to hide some
		return
	}
	p.payload = b[8:]
}

func (p *packet) decodeTCP(b []byte) {
	if len(b) < 20 || len(b) < int(b[12]>>4)*4 || b[12]>>4 < 5 {
		p.fault = "(wrong length)"
		return
	}
	p.ports(b)
	const syn = 0x02
	p.tcp = segment{seq: binary.BigEndian.Uint32(b[4:]), syn: b[13]&syn != 0}
	p.payload = b[int(b[12]>>4)*4:]
}

func (p *packet) ports(b []byte) {
	p.from = netip.AddrPortFrom(p.from.Addr(), binary.BigEndian.Uint16(b))
	p.to = netip.AddrPortFrom(p.to.Addr(), binary.BigEndian.Uint16(b[2:]))
}
