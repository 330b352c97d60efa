package linux

import (
	"encoding/binary"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A verdict is what a rule says at its end.
type verdict int

const (
	none verdict = iota
	accepts
	drops
	calls // another chain
	goes  // to another chain, and does not come back
	returns
)

// A match holds the expressions of a rule against the packet. What is not known of it makes the match uncertain,
// and never fail.
type match struct {
	*walk
	table   *nftables.Table
	value   value // in the register; without bytes for unknown. Rules that are understood here use one
	link    bool  // the register has the link that the packet came in by: not the loopback
	certain bool
	failed  bool
}

// newState is the state of a connection whose first packet this is, as a bit (ct state new).
const newState = 8

// take holds one expression against the packet.
func (m *match) take(name string, data []byte) (verdict, string) {
	m.link = m.link && name == "cmp"
	switch name {
	case "meta":
		key := expr.MetaKey(number(attribute(data, unix.NFTA_META_KEY)))
		m.value, m.link = m.meta(key, m.hook), key == expr.MetaKeyIIF || key == expr.MetaKeyIIFNAME
	case "payload":
		m.value = m.payload(expr.PayloadBase(number(attribute(data, unix.NFTA_PAYLOAD_BASE))),
			number(attribute(data, unix.NFTA_PAYLOAD_OFFSET)), number(attribute(data, unix.NFTA_PAYLOAD_LEN)))
	case "ct":
		m.value = connectionOf(number(attribute(data, unix.NFTA_CT_KEY)))
	case "bitwise":
		m.value = m.value.mask(attribute(attribute(data, unix.NFTA_BITWISE_MASK), unix.NFTA_DATA_VALUE),
			attribute(attribute(data, unix.NFTA_BITWISE_XOR), unix.NFTA_DATA_VALUE))
	case "cmp":
		m.compare(data)
	case "lookup":
		return m.lookup(data)
	case "match":
		m.xt(textOf(attribute(data, unix.NFTA_MATCH_NAME)), attribute(data, unix.NFTA_MATCH_INFO))
	case "immediate", "reject", "target":
		return end(name, data)
	case "counter", "log":
	default:
		m.value, m.certain = value{}, false
	}
	return none, ""
}

// connectionOf is what is known of the connection of the packet, which is its first: no address of it was changed.
func connectionOf(key uint32) value {
	switch key {
	case unix.NFT_CT_STATE:
		return exactly(binary.NativeEndian.AppendUint32(nil, newState))
	case unix.NFT_CT_STATUS:
		return exactly(make([]byte, 4))
	}
	return value{}
}

// end is the verdict of an expression that has one.
func end(name string, data []byte) (verdict, string) {
	switch {
	case name == "immediate":
		return verdictOf(attribute(data, unix.NFTA_IMMEDIATE_DATA))
	case name == "reject", textOf(attribute(data, unix.NFTA_TARGET_NAME)) == "REJECT":
		return drops, ""
	}
	return none, ""
}

func (m *match) compare(data []byte) {
	with := attribute(attribute(data, unix.NFTA_CMP_DATA), unix.NFTA_DATA_VALUE)
	op := expr.CmpOp(number(attribute(data, unix.NFTA_CMP_OP)))
	if m.link && isLoopback(with) {
		m.failed = m.failed || op == expr.CmpOpEq
		return
	}
	order, certain := m.value.compare(with)
	if !certain && (order == 0 || op != expr.CmpOpEq && op != expr.CmpOpNeq) {
		m.certain = false
		return
	}
	m.failed = m.failed || !map[expr.CmpOp]bool{
		expr.CmpOpEq: order == 0, expr.CmpOpNeq: order != 0, expr.CmpOpLt: order < 0,
		expr.CmpOpLte: order <= 0, expr.CmpOpGt: order > 0, expr.CmpOpGte: order >= 0,
	}[op]
}

// isLoopback says whether a link is meant that is the loopback, by its name or its index.
func isLoopback(link []byte) bool {
	return textOf(link) == "lo" || len(link) == 4 && binary.NativeEndian.Uint32(link) == loopback
}

// lookup looks the value up in a set. Of a map, what it says there is not known here, but whether it says anything.
func (m *match) lookup(data []byte) (verdict, string) {
	has, ok := m.contains(m.table, textOf(attribute(data, unix.NFTA_LOOKUP_SET)), m.value)
	inverted := number(attribute(data, unix.NFTA_LOOKUP_FLAGS)) != 0
	to := attribute(data, unix.NFTA_LOOKUP_DREG)
	if to != nil {
		m.value = value{}
	}
	switch {
	case ok && has == inverted:
		m.failed = true
	case to != nil && number(to) == unix.NFT_REG_VERDICT:
		m.certain = false
		return accepts, "" // or whatever
	case !ok:
		m.certain = false
	}
	return none, ""
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
	case expr.VerdictGoto:
		return goes, textOf(attribute(v, unix.NFTA_VERDICT_CHAIN))
	case expr.VerdictJump:
		return calls, textOf(attribute(v, unix.NFTA_VERDICT_CHAIN))
	}
	return returns, ""
}
