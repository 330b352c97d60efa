package linux

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/warren-mesh/warren/peers"
)

// afterSourceNAT is a priority at which a packet that leaves has the addresses with which it leaves.
const afterSourceNAT = 110

// wall makes a wall into sets and chains. What they are, Guard.String says in the words of nft(8); chains that
// are gone to come before those that go there.
func (c *compiled) wall(w *peers.Wall) {
	away := rule{via(expr.MetaKeyOIFNAME, ours), then(expr.VerdictReturn, "")}
	if w.Policy != nil {
		c.policy(w)
		away = rule{via(expr.MetaKeyOIFNAME, ours), then(expr.VerdictGoto, "away")}
	}
	outside := c.keepIn(w, away)
	if w.Policy == nil {
		c.chains = append(c.chains, plain("opened", rule{connection(expr.CtStateBitNEW), count(peers.CounterOpened)}))
		c.arrive([]rule{{via(expr.MetaKeyIIFNAME, ours), then(expr.VerdictGoto, "opened")}}, outside...)
		c.through(w)
		return
	}
	ask := then(expr.VerdictGoto, "asked")
	for _, own := range w.Own { // a neighbour can send to them, too: the kernel takes them by any link
		outside = append(outside, rule{family(own.Is6()), isAddress(own, false), notLoopback(), ask})
	}
	c.arrive([]rule{{via(expr.MetaKeyIIFNAME, ours), ask}}, outside...)
}

// keepIn drops what leaves for the mesh by another way than a tunnel, and gives the rules for what claims to come from it.
// Most packets are not about the mesh, WireGuard's own among them, so their addresses are looked at first.
func (c *compiled) keepIn(w *peers.Wall, away rule) (outside []rule) {
	if len(w.Inside) == 0 {
		if w.Policy != nil {
			c.chains = append(c.chains, hook("leave", nftables.ChainHookPostrouting, afterSourceNAT, away))
		}
		return nil
	}
	pass, inside := then(expr.VerdictReturn, ""), c.ranges("inside", w.Inside)
	leaked := []rule{{via(expr.MetaKeyOIFNAME, loopbackName), pass}}
	if w.Doubled {
		leaked = append(leaked, rule{marked(), pass})
	}
	c.chains = append(c.chains,
		plain("spoofed",
			rule{via(expr.MetaKeyIIFNAME, loopbackName), pass},
			rule{onUDP(dstPort, w.Ports...), wireguard(), pass},
			rule{count(peers.CounterSpoofed), then(expr.VerdictDrop, "")}),
		plain("leaked", append(leaked,
			rule{onUDP(srcPort, w.Ports...), wireguard(), pass},
			rule{count(peers.CounterLeaked), then(expr.VerdictDrop, "")})...),
		hook("leave", nftables.ChainHookPostrouting, afterSourceNAT,
			append([]rule{away}, decided(inside, false, then(expr.VerdictGoto, "leaked"))...)...))
	return decided(inside, true, then(expr.VerdictJump, "spoofed"))
}

// wireguard matches datagrams that begin as those of WireGuard do: with one of four types, and three bytes of zero
// (WireGuard paper §5.4). By their ports alone others would pass: one of the two is idle most of the time, and any port
// may be somebody's in the network behind a gateway.
func wireguard() part {
	load := fixed{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: udpContent, Len: 4}}
	return oneOf(load, nftables.TypeInteger, []byte{1, 0, 0, 0}, []byte{2, 0, 0, 0}, []byte{3, 0, 0, 0}, []byte{4, 0, 0, 0})
}

func hook(name string, at *nftables.ChainHook, priority nftables.ChainPriority, rules ...rule) *ruleChain {
	accept := nftables.ChainPolicyAccept
	return &ruleChain{
		Chain: nftables.Chain{
			Name: name, Type: nftables.ChainTypeFilter, Hooknum: at, Priority: &priority, Policy: &accept,
		},
		rules: rules,
	}
}

func plain(name string, rules ...rule) *ruleChain {
	return &ruleChain{Chain: nftables.Chain{Name: name}, rules: rules}
}

// through keeps packets from the mesh from being forwarded to what is not in it: the internet, or containers. Answers
// pass, and so does what somebody has sent elsewhere on purpose.
func (c *compiled) through(w *peers.Wall) {
	leave := then(expr.VerdictReturn, "")
	rules := []rule{{direction(replied), leave}, {connection(expr.CtStateBitRELATED), leave}, {redirected(), leave}}
	rules = append(rules, decided(c.ranges("behind", w.Behind), false, leave)...)
	c.chains = append(c.chains,
		plain("through", append(rules, rule{count(peers.CounterStrayed), then(expr.VerdictDrop, "")})...),
		hook("stray", nftables.ChainHookForward, *nftables.ChainPriorityFilter,
			rule{via(expr.MetaKeyIIFNAME, ours), then(expr.VerdictGoto, "through")}))
}

// ranges makes a set of addresses part of the table for each family that has some.
func (c *compiled) ranges(name string, all []peers.Range) (out []*set) {
	for _, ipv6 := range []bool{false, true} {
		within := addressSet(name+map[bool]string{false: "4", true: "6"}[ipv6], ipv6)
		for _, r := range all {
			if r.First.Is6() == ipv6 {
				within.add(r.First.AsSlice(), r.Last.AsSlice(), "")
			}
		}
		if len(within.elements) > 0 {
			out = append(out, c.keepSet(within))
		}
	}
	return out
}

// decided does something with packets from or to addresses in any of the sets.
func decided(within []*set, source bool, do ...part) (out []rule) {
	for _, s := range within {
		ipv6 := s.KeyType == nftables.TypeIP6Addr
		out = append(out, append(rule{family(ipv6), address(ipv6, source), s}, do...))
	}
	return out
}

func isAddress(a netip.Addr, source bool) fixed {
	return append(address(a.Is6(), source), &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: a.AsSlice()})
}
