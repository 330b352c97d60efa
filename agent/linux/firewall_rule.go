package linux

import (
	"bytes"
	"encoding/binary"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A verdict is what a rule says at its end.
type verdict int

const (
	none verdict = iota
	accepts
	drops
	calls // another chain
	returns
)

// A match holds the expressions of a rule against the first message of a handshake from an unknown sender.
// What is not known of it makes the match uncertain, and never fail.
type match struct {
	*walk
	table   *nftables.Table
	value   []byte // in the register; nil for unknown. Rules that are understood here use one
	link    bool   // the register has the link that the packet came in by: not the loopback
	certain bool
	failed  bool
}

// newState is the state of a connection whose first packet this is, as a bit (ct state new).
const newState = 8

// take holds one expression against the packet.
func (m *match) take(name string, data []byte) (verdict, string) {
	switch name {
	case "meta":
		key := expr.MetaKey(number(attribute(data, unix.NFTA_META_KEY)))
		m.value, m.link = m.meta(key), key == expr.MetaKeyIIF || key == expr.MetaKeyIIFNAME
	case "payload":
		m.value = m.payload(data)
	case "ct":
		m.value = nil
		if number(attribute(data, unix.NFTA_CT_KEY)) == unix.NFT_CT_STATE {
			m.value = binary.NativeEndian.AppendUint32(nil, newState)
		}
	case "bitwise":
		m.mask(data)
	case "cmp":
		m.compare(data)
	case "lookup":
		m.lookup(data)
	case "match":
		m.xt(data)
	case "immediate", "reject", "target":
		return end(name, data)
	case "counter", "log":
	default:
		m.value, m.certain = nil, false
	}
	return none, ""
}

// end is the verdict of an expression that has one.
func end(name string, data []byte) (verdict, string) {
	switch {
	case name == "immediate":
		return verdictOf(attribute(data, unix.NFTA_IMMEDIATE_DATA))
	case name == "reject", nl.BytesToString(attribute(data, unix.NFTA_TARGET_NAME)) == "REJECT":
		return drops, ""
	}
	return none, ""
}

// meta is what is known of the packet itself.
func (m *match) meta(key expr.MetaKey) []byte {
	switch key {
	case expr.MetaKeyL4PROTO:
		return []byte{unix.IPPROTO_UDP}
	case expr.MetaKeyNFPROTO:
		return []byte{unix.NFPROTO_IPV4}
	}
	return nil
}

// payload is what is known of what is in it: the protocol and the port.
func (m *match) payload(data []byte) []byte {
	base := expr.PayloadBase(number(attribute(data, unix.NFTA_PAYLOAD_BASE)))
	offset, length := number(attribute(data, unix.NFTA_PAYLOAD_OFFSET)), number(attribute(data, unix.NFTA_PAYLOAD_LEN))
	switch {
	case base == expr.PayloadBaseTransportHeader && offset == udpPort && length == 2:
		return port(m.port)
	case base == expr.PayloadBaseNetworkHeader && offset == 9 && length == 1:
		return []byte{unix.IPPROTO_UDP}
	}
	return nil
}

func (m *match) mask(data []byte) {
	and := attribute(attribute(data, unix.NFTA_BITWISE_MASK), unix.NFTA_DATA_VALUE)
	if len(and) != len(m.value) {
		m.value = nil
		return
	}
	out := make([]byte, len(and))
	for i := range and {
		out[i] = and[i] & m.value[i]
	}
	m.value = out
}

func (m *match) compare(data []byte) {
	with := attribute(attribute(data, unix.NFTA_CMP_DATA), unix.NFTA_DATA_VALUE)
	op := expr.CmpOp(number(attribute(data, unix.NFTA_CMP_OP)))
	if m.link && isLoopback(with) {
		m.failed = m.failed || op == expr.CmpOpEq
		return
	}
	if m.value == nil || len(with) != len(m.value) {
		m.certain = false
		return
	}
	order := bytes.Compare(m.value, with)
	m.failed = m.failed || !map[expr.CmpOp]bool{
		expr.CmpOpEq: order == 0, expr.CmpOpNeq: order != 0, expr.CmpOpLt: order < 0,
		expr.CmpOpLte: order <= 0, expr.CmpOpGt: order > 0, expr.CmpOpGte: order >= 0,
	}[op]
}

// isLoopback says whether a link is meant that is the loopback, by its name or its index.
func isLoopback(link []byte) bool {
	return nl.BytesToString(link) == "lo" || len(link) == 4 && binary.NativeEndian.Uint32(link) == loopback
}

func (m *match) lookup(data []byte) {
	has, ok := false, false
	if m.value != nil && attribute(data, unix.NFTA_LOOKUP_DREG) == nil {
		has, ok = m.contains(m.table, nl.BytesToString(attribute(data, unix.NFTA_LOOKUP_SET)), m.value)
	}
	inverted := number(attribute(data, unix.NFTA_LOOKUP_FLAGS)) != 0
	if !ok {
		m.certain = false
	} else if has == inverted {
		m.failed = true
	}
}

// xt is a match of iptables. That of UDP has the ranges of both ports, from and to, and whether they are
// inverted (struct xt_udp of linux/netfilter/xt_tcpudp.h).
func (m *match) xt(data []byte) {
	name, info := nl.BytesToString(attribute(data, unix.NFTA_MATCH_NAME)), attribute(data, unix.NFTA_MATCH_INFO)
	if name == "tcp" || name == "icmp" {
		m.failed = true
		return
	}
	if name != "udp" || len(info) < 9 || info[8] != 0 {
		m.certain = false
		return
	}
	if from, to := binary.NativeEndian.Uint16(info[4:]), binary.NativeEndian.Uint16(info[6:]); m.port < from || m.port > to {
		m.failed = true
	}
	if binary.NativeEndian.Uint16(info) != 0 || binary.NativeEndian.Uint16(info[2:]) != 0xffff {
		m.certain = false // a port of the sender
	}
}

// verdictOf reads a verdict, and the chain that it leads to.
func verdictOf(data []byte) (verdict, string) {
	v := attribute(data, unix.NFTA_DATA_VERDICT)
	if v == nil {
		return none, "" // a value for the register
	}
	switch expr.VerdictKind(int32(number(attribute(v, unix.NFTA_VERDICT_CODE)))) {
	case expr.VerdictAccept:
		return accepts, ""
	case expr.VerdictDrop:
		return drops, ""
	case expr.VerdictJump, expr.VerdictGoto:
		return calls, nl.BytesToString(attribute(v, unix.NFTA_VERDICT_CHAIN))
	}
	return returns, ""
}
