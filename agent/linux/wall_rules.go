package linux

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

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
		away = rule{via(expr.MetaKeyOIFNAME, ours), direction(replied), then(expr.VerdictGoto, "answers")}
	}
	switch {
	case len(w.Inside) > 0:
		c.keepIn(w, away)
	case w.Policy != nil:
		c.chains = append(c.chains, hook("leave", nftables.ChainHookPostrouting, afterSourceNAT, away))
	}
	if w.Policy == nil {
		c.chains = append(c.chains, hook("arrive", nftables.ChainHookPrerouting, *nftables.ChainPriorityMangle,
			rule{via(expr.MetaKeyIIFNAME, ours), connection(expr.CtStateBitNEW), count(peers.CounterOpened)}))
		c.through(w)
		return
	}
	var probes []rule
	for _, own := range w.Own {
		probes = append(probes, rule{
			via(expr.MetaKeyIIFNAME, ours), family(own.Is6()), isAddress(own, false), onUDP(dstPort, peers.ProbePort),
			then(expr.VerdictAccept, ""),
		})
	}
	c.chains = append(c.chains, hook("arrive", nftables.ChainHookPrerouting, *nftables.ChainPriorityMangle,
		append(probes, rule{via(expr.MetaKeyIIFNAME, ours), then(expr.VerdictGoto, "asked")})...))
}

// keepIn drops what leaves for the mesh, or claims to come from it, by another way than a tunnel.
func (c *compiled) keepIn(w *peers.Wall, away rule) {
	spoof := []rule{
		{via(expr.MetaKeyIIFNAME, loopbackName), then(expr.VerdictReturn, "")},
		{via(expr.MetaKeyIIFNAME, ours), then(expr.VerdictReturn, "")},
		{onUDP(dstPort, w.Ports...), then(expr.VerdictReturn, "")},
	}
	leave := []rule{
		{via(expr.MetaKeyOIFNAME, loopbackName), then(expr.VerdictReturn, "")}, away,
	}
	if w.Policy != nil {
		leave = append(leave, rule{via(expr.MetaKeyOIFNAME, ours), then(expr.VerdictReturn, "")})
	}
	if w.Doubled {
		leave = append(leave, rule{marked(), then(expr.VerdictReturn, "")})
	}
	leave = append(leave, rule{onUDP(srcPort, w.Ports...), then(expr.VerdictReturn, "")})
	c.chains = append(c.chains,
		hook("spoof", nftables.ChainHookPrerouting, *nftables.ChainPriorityRaw,
			append(spoof, keptIn(w.Inside, true, peers.CounterSpoofed)...)...),
		hook("leave", nftables.ChainHookPostrouting, afterSourceNAT,
			append(leave, keptIn(w.Inside, false, peers.CounterLeaked)...)...))
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
	rules = append(rules, decided(w.Behind, false, leave)...)
	c.chains = append(c.chains,
		plain("through", append(rules, rule{count(peers.CounterStrayed), then(expr.VerdictDrop, "")})...),
		hook("stray", nftables.ChainHookForward, *nftables.ChainPriorityFilter,
			rule{via(expr.MetaKeyIIFNAME, ours), then(expr.VerdictGoto, "through")}))
}

// keptIn drops packets from or to addresses that are reached through tunnels only.
func keptIn(all []peers.Range, source bool, counter string) []rule {
	return decided(all, source, count(counter), then(expr.VerdictDrop, ""))
}

// decided does something with packets from or to addresses in any of the ranges.
func decided(all []peers.Range, source bool, do ...part) (out []rule) {
	for _, ipv6 := range []bool{false, true} {
		within := addressSet("", ipv6)
		for _, r := range all {
			if r.First.Is6() == ipv6 {
				within.add(r.First.AsSlice(), r.Last.AsSlice(), "")
			}
		}
		if len(within.elements) > 0 {
			out = append(out, append(rule{family(ipv6), address(ipv6, source), within}, do...))
		}
	}
	return out
}

// policy makes the chains that decide. Packets come into them in both directions: an answer is let out if what it
// answers is let in, so a flow that closes is cut at once, whoever has something to say.
func (c *compiled) policy(w *peers.Wall) {
	for _, name := range w.Counters() {
		if strings.HasPrefix(name, "flow-") {
			c.chains = append(c.chains, plain(name, rule{count(name), then(expr.VerdictAccept, "")}))
		}
	}
	for i := range w.Policy.Classes {
		c.class(w, i)
	}
	for i := range w.Policy.Targets {
		c.target(&w.Policy.Targets[i], i)
	}
	related := rule{connection(expr.CtStateBitRELATED), then(expr.VerdictAccept, "")}
	decide := rule{then(expr.VerdictGoto, "decide")}
	c.chains = append(c.chains,
		plain("decide", append(c.targets(w), refuse())...),
		plain("asked", related, rule{direction(replied), then(expr.VerdictAccept, "")},
			rule{icmpType(false, 3, 11, 12), then(expr.VerdictAccept, "")},
			rule{icmpType(true, 1, 2, 3, 4), then(expr.VerdictAccept, "")}, decide),
		plain("answers", related, rule{onUDP(srcPort, peers.ProbePort), then(expr.VerdictAccept, "")}, decide))
}

func refuse() rule { return rule{count(peers.CounterRefused), then(expr.VerdictDrop, "")} }

// targets go to the chain of the address that a packet is for, or answers from.
func (c *compiled) targets(w *peers.Wall) (out []rule) {
	for _, ipv6 := range []bool{false, true} {
		to := addressSet("to"+map[bool]string{false: "4", true: "6"}[ipv6], ipv6)
		for i := range w.Policy.Targets {
			if r := w.Policy.Targets[i].To; r.First.Is6() == ipv6 {
				to.add(r.First.AsSlice(), r.Last.AsSlice(), fmt.Sprintf("to-%d", i))
			}
		}
		if len(to.elements) > 0 {
			c.sets = append(c.sets, to)
			out = append(out,
				rule{direction(asking), family(ipv6), address(ipv6, false), to},
				rule{direction(replied), family(ipv6), address(ipv6, true), to})
		}
	}
	return out
}

// target goes to the class of who asks.
func (c *compiled) target(t *peers.Target, i int) {
	ipv6 := t.To.First.Is6()
	from := addressSet(fmt.Sprintf("from-%d", i), ipv6)
	for _, s := range t.Sources {
		from.add(s.From.First.AsSlice(), s.From.Last.AsSlice(), fmt.Sprintf("class-%d", s.Class))
	}
	c.sets = append(c.sets, from)
	c.chains = append(c.chains, plain(fmt.Sprintf("to-%d", i),
		rule{direction(asking), family(ipv6), address(ipv6, true), from},
		rule{direction(replied), family(ipv6), address(ipv6, false), from}, refuse()))
}

// class goes to the chain of the flow that lets a service in.
func (c *compiled) class(w *peers.Wall, i int) {
	var rules []rule
	class := &w.Policy.Classes[i]
	for _, p := range []struct {
		name     string
		protocol byte
		ports    []peers.PortRule
	}{{"tcp", unix.IPPROTO_TCP, class.TCP}, {"udp", unix.IPPROTO_UDP, class.UDP}} {
		if len(p.ports) == 0 {
			continue
		}
		which := newSet(fmt.Sprintf("%s-%d", p.name, i), nftables.TypeInetService)
		for _, r := range p.ports {
			which.add(port(r.First), port(r.Last), w.Counter(r.Flow))
		}
		c.sets = append(c.sets, which)
		rules = append(rules,
			rule{direction(asking), ports(p.protocol, dstPort), which}, rule{direction(replied), ports(p.protocol, srcPort), which})
	}
	if class.ICMP != 0 {
		rules = append(rules, rule{protocols(unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6), then(expr.VerdictGoto, w.Counter(class.ICMP))})
	}
	if class.Any != 0 {
		rules = append(rules, rule{then(expr.VerdictGoto, w.Counter(class.Any))})
	}
	c.chains = append(c.chains, plain(fmt.Sprintf("class-%d", i), append(rules, refuse())...))
}

func isAddress(a netip.Addr, source bool) fixed {
	return append(address(a.Is6(), source), &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: a.AsSlice()})
}
