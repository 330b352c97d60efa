package linux

import (
	"encoding/binary"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A rule is parts that are looked at one after the other. A part is an expression of the kernel or several.
type rule []part

// A part adds expressions to a rule. It may first make a set that belongs to the rule alone.
type part interface {
	expressions(conn *nftables.Conn, table *nftables.Table) ([]expr.Any, error)
}

func (r rule) expressions(conn *nftables.Conn, table *nftables.Table) ([]expr.Any, error) {
	var out []expr.Any
	for _, p := range r {
		more, err := p.expressions(conn, table)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// fixed are expressions that need nothing else.
type fixed []expr.Any

func (f fixed) expressions(*nftables.Conn, *nftables.Table) ([]expr.Any, error) { return f, nil }

// ours are the names of our links: what begins like this.
const (
	ours         = "wrn"
	loopbackName = "lo\x00"
)

// via matches packets that come or go by links whose names begin with text.
func via(way expr.MetaKey, text string) fixed {
	return fixed{
		&expr.Meta{Key: way, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte(text)},
	}
}

// notLoopback matches packets that come from outside of the host.
func notLoopback() fixed {
	return fixed{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte(loopbackName)},
	}
}

// then says what becomes of a packet that all parts before have matched.
func then(kind expr.VerdictKind, chain string) fixed {
	return fixed{&expr.Verdict{Kind: kind, Chain: chain}}
}

// count counts what comes so far by a counter with a name.
func count(name string) fixed {
	return fixed{&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: name}}
}

// oneOf matches keys of a byte or two that are one of a few.
func oneOf(load fixed, key nftables.SetDatatype, values ...[]byte) part {
	if len(values) == 1 {
		return append(load, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: values[0]})
	}
	return few{load, key, values}
}

// few are values to look a key up in.
type few struct {
	load   fixed
	key    nftables.SetDatatype
	values [][]byte
}

func (f few) expressions(conn *nftables.Conn, table *nftables.Table) ([]expr.Any, error) {
	there := &nftables.Set{Table: table, Anonymous: true, Constant: true, KeyType: f.key}
	elements := make([]nftables.SetElement, len(f.values))
	for i, v := range f.values {
		elements[i].Key = v
	}
	if err := conn.AddSet(there, elements); err != nil {
		return nil, err
	}
	return append(f.load, &expr.Lookup{SourceRegister: 1, SetName: there.Name, SetID: there.ID}), nil
}

func family(ipv6 bool) fixed {
	f := byte(unix.NFPROTO_IPV4)
	if ipv6 {
		f = unix.NFPROTO_IPV6
	}
	return fixed{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{f}},
	}
}

// address loads the address that a packet comes from, or goes to (RFC 791 §3.1, RFC 8200 §3).
func address(ipv6, source bool) fixed {
	load := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
	switch {
	case ipv6 && source:
		load.Offset, load.Len = 8, 16
	case ipv6:
		load.Offset, load.Len = 24, 16
	case source:
		load.Offset = 12
	}
	return fixed{load}
}

// Where ports are in the headers of TCP and UDP.
const (
	srcPort = 0
	dstPort = 2
)

func port(p uint16) []byte { return binary.BigEndian.AppendUint16(nil, p) }

// ports loads a port of a packet of a protocol.
func ports(protocol byte, offset uint32) fixed {
	return fixed{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
	}
}

func onUDP(offset uint32, numbers ...uint16) part {
	values := make([][]byte, len(numbers))
	for i, p := range numbers {
		values[i] = port(p)
	}
	return oneOf(ports(unix.IPPROTO_UDP, offset), nftables.TypeInetService, values...)
}

func protocols(numbers ...byte) part {
	values := make([][]byte, len(numbers))
	for i, n := range numbers {
		values[i] = []byte{n}
	}
	return oneOf(fixed{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}}, nftables.TypeInetProto, values...)
}

// icmpType matches messages of ICMP (RFC 792) or ICMPv6 (RFC 4443) by their types.
func icmpType(ipv6 bool, types ...byte) part {
	protocol, key := byte(unix.IPPROTO_ICMP), nftables.TypeICMPType
	if ipv6 {
		protocol, key = unix.IPPROTO_ICMPV6, nftables.TypeICMP6Type
	}
	values := make([][]byte, len(types))
	for i, n := range types {
		values[i] = []byte{n}
	}
	return oneOf(fixed{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 1},
	}, key, values...)
}

// connection matches packets by the state of their connections.
func connection(state uint32) fixed {
	mask := binary.NativeEndian.AppendUint32(nil, state)
	return fixed{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

// redirected matches packets of connections whose destination was translated (IPS_DST_NAT in
// linux/netfilter/nf_conntrack_common.h).
func redirected() fixed {
	const translated = 1 << 5
	return fixed{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, translated), Xor: make([]byte, 4),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

// Directions of a connection (linux/netfilter/nf_conntrack_tuple_common.h).
const (
	asking  = 0
	replied = 1
)

func direction(d byte) fixed {
	return fixed{
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{d}},
	}
}
