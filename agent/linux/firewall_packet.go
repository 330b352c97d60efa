package linux

import (
	"bytes"
	"encoding/binary"
	"math"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A packet is what is known of one that somebody's rules are held against. It is the first of a connection.
type packet struct {
	hooks    []*nftables.ChainHook // where it comes by, in their order
	ipv6     bool
	protocol byte
	port     uint16       // of the receiver; 0 for unknown
	from, to netip.Prefix // in which its addresses are; zero for unknown
	in, out  string       // links; empty for unknown, of which the one that it came by is not the loopback
}

// A value is what is in the register of a rule: bits that are 0 in known may be anything.
type value struct{ bytes, known []byte }

func exactly(b []byte) value { return value{b, bytes.Repeat([]byte{0xff}, len(b))} }

func anything(n int) value { return value{make([]byte, n), make([]byte, n)} }

// whole reports whether all of it is known.
func (v value) whole() bool { return bytes.Equal(v.known, exactly(v.known).known) }

// put writes what is known into a part of it.
func (v value) put(at int, b []byte, bits int) {
	for i, c := range b {
		known := byte(math.MaxUint8)
		if rest := bits - 8*i; rest < 8 {
			known = ^byte(math.MaxUint8 >> max(0, rest))
		}
		v.bytes[at+i], v.known[at+i] = c&known, known
	}
}

// compare holds the beginning of the value against bytes: whether they differ for certain, and whether that is
// certain at all.
func (v value) compare(with []byte) (order int, certain bool) {
	if len(with) > len(v.bytes) {
		return 0, false
	}
	certain = true
	for i, c := range with {
		if differ := (v.bytes[i] ^ c) & v.known[i]; differ != 0 {
			// Without all bits before it, which is greater is not known, but that they differ is.
			return cmpByte(v.bytes[i], c), certain && v.known[i] == math.MaxUint8
		}
		certain = certain && v.known[i] == math.MaxUint8
	}
	return 0, certain
}

func cmpByte(a, b byte) int { return int(a) - int(b) }

// mask is the value with some bits set to others (nft bitwise).
func (v value) mask(and, xor []byte) value {
	if len(and) != len(v.bytes) || len(xor) != len(and) {
		return value{}
	}
	out := anything(len(and))
	for i := range and {
		out.bytes[i] = v.bytes[i]&and[i] ^ xor[i]
		out.known[i] = v.known[i] | ^and[i]
	}
	return out
}

// Sizes and places in headers (RFC 791, RFC 8200).
const (
	header4, protocol4, source4, destination4 = 20, 9, 12, 16
	header6, protocol6, source6, destination6 = 40, 6, 8, 24
)

// network is the header of IP.
func (p *packet) network() value {
	size, protocol, source, destination, version := header4, protocol4, source4, destination4, byte(0x45)
	if p.ipv6 {
		size, protocol, source, destination, version = header6, protocol6, source6, destination6, 0x60
	}
	v := anything(size)
	v.put(0, []byte{version}, 4)
	v.put(protocol, []byte{p.protocol}, 8)
	for at, in := range map[int]netip.Prefix{source: p.from, destination: p.to} {
		if in.IsValid() {
			v.put(at, in.Masked().Addr().AsSlice(), in.Bits())
		}
	}
	return v
}

// transport is the header of TCP or UDP as far as both are alike.
func (p *packet) transport() value {
	v := anything(udpContent)
	if p.port != 0 {
		v.put(udpPort, port(p.port), 16)
	}
	return v
}

// payload is a part of a header.
func (p *packet) payload(base expr.PayloadBase, offset, length uint32) value {
	var v value
	switch base {
	case expr.PayloadBaseNetworkHeader:
		v = p.network()
	case expr.PayloadBaseTransportHeader:
		v = p.transport()
	}
	end := uint64(offset) + uint64(length)
	if end > uint64(len(v.bytes)) {
		return value{}
	}
	return value{v.bytes[offset:end], v.known[offset:end]}
}

// meta is what is known of the packet itself at a hook.
func (p *packet) meta(key expr.MetaKey, hook nftables.ChainHook) value {
	in, out := p.in, p.out
	if hook == *nftables.ChainHookPostrouting {
		in = ""
	}
	if hook == *nftables.ChainHookPrerouting {
		out = ""
	}
	switch key {
	case expr.MetaKeyL4PROTO:
		return exactly([]byte{p.protocol})
	case expr.MetaKeyNFPROTO:
		if p.ipv6 {
			return exactly([]byte{unix.NFPROTO_IPV6})
		}
		return exactly([]byte{unix.NFPROTO_IPV4})
	case expr.MetaKeyIIFNAME:
		return nameOf(in)
	case expr.MetaKeyOIFNAME:
		return nameOf(out)
	case expr.MetaKeyIIF:
		return indexOf(in)
	case expr.MetaKeyOIF:
		return indexOf(out)
	}
	return value{}
}

func nameOf(link string) value {
	if link == "" {
		return value{}
	}
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, link)
	return exactly(name)
}

func indexOf(link string) value {
	if link == "" {
		return value{}
	}
	i, err := net.InterfaceByName(link)
	if err != nil {
		return value{}
	}
	return exactly(binary.NativeEndian.AppendUint32(nil, uint32(i.Index)))
}
