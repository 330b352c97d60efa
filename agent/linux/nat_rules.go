package linux

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// translate makes the chains that translate addresses between a gateway's site and the mesh. What they are,
// Guard.String says in the words of nft(8).
func (c *compiled) translate(all []peers.Translation) {
	var in, out []rule
	for _, n := range all {
		ipv6 := n.Prefix.Addr().Is6()
		if n.As.IsValid() {
			in = append(in, rule{
				via(expr.MetaKeyIIFNAME, ours), family(ipv6), within(n.As, false), netmap(expr.NATTypeDestNAT, n.Prefix),
			})
			out = append(out, rule{
				via(expr.MetaKeyOIFNAME, ours), family(ipv6), within(n.Prefix, true), netmap(expr.NATTypeSourceNAT, n.As),
			})
		}
		if n.SNAT {
			out = append(out, rule{
				via(expr.MetaKeyIIFNAME, ours), family(ipv6), within(n.Prefix, false), fixed{&expr.Masq{}},
			})
		}
	}
	c.nat("unalias", nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest, in)
	c.nat("alias", nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, out)
}

func (c *compiled) nat(name string, at *nftables.ChainHook, priority *nftables.ChainPriority, rules []rule) {
	if len(rules) == 0 {
		return
	}
	chain := hook(name, at, *priority, rules...)
	chain.Type = nftables.ChainTypeNAT
	c.chains = append(c.chains, chain)
}

// within matches packets from or to a prefix.
func within(p netip.Prefix, source bool) fixed {
	p = p.Masked()
	load := address(p.Addr().Is6(), source)
	size := uint32(p.Addr().BitLen() / 8)
	return append(load,
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: mask(p), Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Addr().AsSlice()},
	)
}

// mask has a bit for each that tells networks of the prefix's length apart.
func mask(p netip.Prefix) []byte {
	out := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		out[i/8] |= 0x80 >> (i % 8)
	}
	return out
}

// netmap gives a packet the address of another prefix with the same bits behind the length.
func netmap(kind expr.NATType, to netip.Prefix) fixed {
	r := peers.RangeOf(to)
	nfproto := uint32(unix.NFPROTO_IPV4)
	if to.Addr().Is6() {
		nfproto = unix.NFPROTO_IPV6
	}
	return fixed{
		&expr.Immediate{Register: 1, Data: r.First.AsSlice()},
		&expr.Immediate{Register: 2, Data: r.Last.AsSlice()},
		&expr.NAT{Type: kind, Family: nfproto, RegAddrMin: 1, RegAddrMax: 2, Prefix: true},
	}
}
