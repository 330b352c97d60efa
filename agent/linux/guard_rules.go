package linux

import (
	"encoding/binary"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// A ruleChain is a chain of our table with its rules.
type ruleChain struct {
	nftables.Chain
	rules []rule
}

// A compiled guard is the sets and the chains of our table, in the order in which they are made.
type compiled struct {
	end    string // of the names of sets
	sets   []*set
	chains []*ruleChain
	knocks []rule // what notes where handshakes are begun
}

// compile makes a guard into rules. What they are, Guard.String says in the words of nft(8).
func compile(g peers.Guard) *compiled {
	c := &compiled{end: g.SetEnd()}
	if g.Clamp {
		c.chains = append(c.chains, hook("clamp", nftables.ChainHookForward, *nftables.ChainPriorityMangle,
			rule{clamp(expr.MetaKeyIIFNAME)}, rule{clamp(expr.MetaKeyOIFNAME)}))
	}
	if g.Knocks != [2]uint16{} {
		c.note(g.Knocks)
	}
	if g.Wall != nil {
		c.translate(g.Wall.NAT)
		c.wall(g.Wall)
	} else {
		c.arrive(nil)
	}
	return c
}

// knockSets are the names of the sets of addresses, IPv4 first.
func knockSets() []string { return []string{"knocks_ipv4", "knocks_ipv6"} }

// setsOf are the sets that the rules of a guard need.
func setsOf(g peers.Guard) (out []*nftables.Set) {
	if g.Knocks == [2]uint16{} {
		return nil
	}
	kinds := []nftables.SetDatatype{nftables.TypeIPAddr, nftables.TypeIP6Addr}
	for i, name := range knockSets() {
		out = append(out, &nftables.Set{
			Name: name, KeyType: kinds[i], Dynamic: true, HasTimeout: true, Timeout: peers.KnockKept, Size: peers.MostKnocks,
		})
	}
	return out
}

// arrive makes the chain of all that comes in, whichever way: with rules for what comes out of tunnels, and more for what
// comes from outside of them, behind those that note handshakes. It is one for all, as a chain costs each packet more than
// a few rules.
func (c *compiled) arrive(inside []rule, outside ...rule) {
	rules := slices.Concat(inside, c.knocks, outside)
	if len(rules) == 0 {
		return
	}
	c.chains = append(c.chains, hook("arrive", nftables.ChainHookPrerouting, *nftables.ChainPriorityMangle, rules...))
}

// note has first messages of handshakes noted.
func (c *compiled) note(ports [2]uint16) {
	var note []rule
	for i, set := range knockSets() {
		ipv6 := i == 1
		note = append(note, rule{
			family(ipv6), address(ipv6, true), fixed{&expr.Dynset{SrcRegKey: 1, SetName: set, Operation: unix.NFT_DYNSET_OP_UPDATE}},
		})
	}
	at := slices.DeleteFunc(ports[:], func(p uint16) bool { return p == 0 })
	c.knocks = []rule{{knock(), onUDP(dstPort, at...), then(expr.VerdictJump, "knocked")}}
	c.chains = append(c.chains, plain("knocked", note...))
}

// What the first message of a handshake looks like: the length of the whole datagram, and how it begins
// (WireGuard paper §5.4.2).
const (
	udpPort     = 2 // offsets in the datagram
	udpLength   = 4
	udpContent  = 8
	firstLength = 8 + 148
)

// knock matches it. Few packets have its length, so that comes first.
func knock() fixed {
	equals := func(offset uint32, value []byte) []expr.Any {
		return []expr.Any{
			&expr.Payload{
				DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: uint32(len(value)),
			},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: value},
		}
	}
	return slices.Concat(
		[]expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		},
		equals(udpLength, binary.BigEndian.AppendUint16(nil, firstLength)),
		equals(udpContent, []byte{1, 0, 0, 0}),
	)
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
func clamp(way expr.MetaKey) fixed {
	return fixed{
		&expr.Meta{Key: way, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte(ours)},
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
