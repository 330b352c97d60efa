package tap

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// The functions here make frames by hand: what they write is what the standards say, not what the decoder expects.

func ethernet(ether uint16, payload []byte) []byte {
	frame := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	return append(binary.BigEndian.AppendUint16(frame, ether), payload...)
}

// ip wraps a payload in a header of the address's family.
func ip(protocol, hops byte, from, to string, payload []byte) []byte {
	a, b := netip.MustParseAddr(from), netip.MustParseAddr(to)
	if a.Is6() {
		header := []byte{0x60, 0, 0, 0, byte(len(payload) >> 8), byte(len(payload)), protocol, hops}
		header = append(append(header, a.AsSlice()...), b.AsSlice()...)
		return ethernet(etherIPv6, append(header, payload...))
	}
	total := 20 + len(payload)
	header := []byte{0x45, 0, byte(total >> 8), byte(total), 0, 1, 0x40, 0, hops, protocol, 0, 0}
	header = append(append(header, a.AsSlice()...), b.AsSlice()...)
	return ethernet(etherIPv4, append(header, payload...))
}

func udp(from, to string, payload []byte) []byte {
	a, b := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	header := binary.BigEndian.AppendUint16(nil, a.Port())
	header = binary.BigEndian.AppendUint16(header, b.Port())
	header = binary.BigEndian.AppendUint16(header, uint16(8+len(payload)))
	return ip(protoUDP, 64, a.Addr().String(), b.Addr().String(), append(append(header, 0, 0), payload...))
}

const flagSYN, flagACK = 0x02, 0x10

func tcp(from, to string, seq uint32, flags byte, payload []byte) []byte {
	a, b := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	header := binary.BigEndian.AppendUint16(nil, a.Port())
	header = binary.BigEndian.AppendUint16(header, b.Port())
	header = binary.BigEndian.AppendUint32(header, seq)
	header = append(header, 0, 0, 0, 0, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	return ip(protoTCP, 64, a.Addr().String(), b.Addr().String(), append(header, payload...))
}

// message is a WireGuard message of the type and length.
func message(kind byte, length int) []byte {
	b := bytes.Repeat([]byte{0xa7}, length)
	copy(b, []byte{kind, 0, 0, 0})
	return b
}

// dataMessage is one to receiver 7 with the counter.
func dataMessage(counter uint64, length int) []byte {
	b := message(typeData, length)
	copy(b[4:], []byte{7, 0, 0, 0})
	binary.LittleEndian.PutUint64(b[8:], counter)
	return b
}

// record is a TLS record.
func record(kind byte, length int) []byte {
	return append([]byte{kind, 3, 3, byte(length >> 8), byte(length)}, bytes.Repeat([]byte{0x5c}, length)...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// packetPort is an address that differs for each n.
func packetPort(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 16), 1}), uint16(n))
}
