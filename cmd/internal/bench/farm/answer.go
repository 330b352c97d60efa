package farm

import (
	"encoding/binary"

	"github.com/warren-mesh/warren/agent/probe"
)

// Lengths of headers, and where in them things are (RFC 791, RFC 768).
const (
	ipv4Header = 20
	udpHeader  = 8
	protocolAt = 9
	sumAt      = 10
	sourceAt   = 12
	targetAt   = 16
	protoUDP   = 17
)

// answer is what the agent behind a tunnel would send to a packet: the reply to a question in IPv4; nil to all else.
func answer(packet []byte) []byte {
	if len(packet) < ipv4Header+udpHeader || packet[0] != 4<<4|ipv4Header/4 || packet[protocolAt] != protoUDP {
		return nil
	}
	datagram := packet[ipv4Header:]
	from, port := datagram[0:2], binary.BigEndian.Uint16(datagram[2:])
	if port != probe.Port || int(binary.BigEndian.Uint16(datagram[4:])) != len(datagram) {
		return nil
	}
	reply := probe.Reply(datagram[udpHeader:])
	if reply == nil {
		return nil
	}
	out := make([]byte, ipv4Header, ipv4Header+udpHeader+len(reply))
	copy(out, packet[:ipv4Header])
	binary.BigEndian.PutUint16(out[2:], uint16(cap(out)))
	copy(out[sourceAt:], packet[targetAt:ipv4Header])
	copy(out[targetAt:], packet[sourceAt:targetAt])
	binary.BigEndian.PutUint16(out[sumAt:], 0)
	binary.BigEndian.PutUint16(out[sumAt:], sum(out))
	out = binary.BigEndian.AppendUint16(out, port)
	out = append(out, from...)
	out = binary.BigEndian.AppendUint16(out, uint16(udpHeader+len(reply)))
	out = append(out, 0, 0) // over IPv4 a datagram need have no checksum
	return append(out, reply...)
}

// sum is the Internet checksum (RFC 1071).
func sum(header []byte) uint16 {
	total := uint32(0)
	for i := 0; i+1 < len(header); i += 2 {
		total += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	for total>>16 != 0 {
		total = total&0xffff + total>>16
	}
	return ^uint16(total)
}
