package linux

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// A ruleChain is a chain of our table with its rules.
type ruleChain struct {
	nftables.Chain
	rules [][]expr.Any
}

// compile makes a guard into rules. What they are, Guard.String says in the words of nft(8).
func compile(g peers.Guard) []*ruleChain {
	var out []*ruleChain
	if g.Clamp {
		accept := nftables.ChainPolicyAccept
		out = append(out, &ruleChain{
			Chain: nftables.Chain{
				Name: "clamp", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward,
				Priority: nftables.ChainPriorityMangle, Policy: &accept,
			},
			rules: [][]expr.Any{clamp(expr.MetaKeyIIFNAME), clamp(expr.MetaKeyOIFNAME)},
		})
	}
	return out
}

// Where things are in a TCP header (RFC 9293).
const (
	tcpFlags  = 13
	tcpSyn    = 0x02
	tcpRst    = 0x04
	tcpMaxSeg = 2 // option
)

// clamp sets the segment size in packets that open a connection through one of our links. The kernel takes
// the smaller MTU of the routes of both directions, and only ever lowers the size.
func clamp(way expr.MetaKey) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: way, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte("wrn")}, // without its end: what begins like this
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: tcpFlags, Len: 1},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{tcpSyn | tcpRst}, Xor: []byte{0},
		},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{tcpSyn}},
		&expr.Rt{Register: 1, Key: expr.RtTCPMSS},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 2, Size: 2},
		&expr.Exthdr{SourceRegister: 1, Type: tcpMaxSeg, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt},
	}
}
