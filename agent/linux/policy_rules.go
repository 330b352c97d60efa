package linux

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// A course is a direction of connections. Each has chains of its own, so that no rule asks again which it is.
type course struct {
	back bool   // packets that answer: their source is what was asked
	end  string // of the names of its chains
	port uint32 // where the port is that was asked
}

func courses() []course {
	return []course{{false, "", dstPort}, {true, "-back", srcPort}}
}

// policy makes the chains that decide. Packets come into them in both directions: an answer is let out if what it
// answers is let in, so a flow that closes is cut at once, whoever has something to say. Most packets are of connections
// that are open and of a flow, so nothing else is asked of them: what passes for another reason is found out last.
func (c *compiled) policy(w *peers.Wall) {
	pass := then(expr.VerdictAccept, "")
	c.chains = append(c.chains, plain("refused", append(probes(w.Own),
		rule{connection(expr.CtStateBitRELATED), pass},
		rule{icmpType(false, 3, 11, 12), pass},
		rule{icmpType(true, 1, 2, 3, 4), pass},
		rule{count(peers.CounterRefused), then(expr.VerdictDrop, "")})...))
	for i := range w.Policy.Classes {
		c.class(w, i)
	}
	for _, y := range courses() {
		for i := range w.Policy.Targets {
			c.target(&w.Policy.Targets[i], i, y)
		}
		c.targets(w, y)
	}
	c.chains = append(c.chains,
		plain("asked",
			rule{direction(replied), pass},
			rule{direction(asking), then(expr.VerdictGoto, "decide")},
			refuse()),
		plain("away", rule{direction(replied), then(expr.VerdictGoto, "decide-back")}))
}

// probes let pass what agents ask each other.
func probes(own []netip.Addr) (out []rule) {
	pass := then(expr.VerdictAccept, "")
	for _, a := range own {
		out = append(out, rule{direction(asking), family(a.Is6()), isAddress(a, false), onUDP(dstPort, peers.ProbePort), pass})
	}
	return append(out, rule{direction(replied), onUDP(srcPort, peers.ProbePort), pass})
}

func refuse() rule { return rule{then(expr.VerdictGoto, "refused")} }

// targets go to the chain of the address that a packet is for, or answers from.
func (c *compiled) targets(w *peers.Wall, y course) {
	var rules []rule
	for _, ipv6 := range []bool{false, true} {
		to := newIndex("to"+map[bool]string{false: "4", true: "6"}[ipv6], y.end, addressType(ipv6), toChain)
		for i := range w.Policy.Targets {
			if r := w.Policy.Targets[i].To; r.First.Is6() == ipv6 {
				to.add(r.First.AsSlice(), r.Last.AsSlice(), fmt.Sprintf("to-%d%s", i, y.end))
			}
		}
		for _, s := range c.keep(to) {
			rules = append(rules, rule{family(ipv6), address(ipv6, y.back), s})
		}
	}
	c.chains = append(c.chains, plain("decide"+y.end, append(rules, refuse())...))
}

// keep makes the sets of an index part of the table.
func (c *compiled) keep(i index) []*set {
	for _, s := range i.sets() {
		c.keepSet(s)
	}
	return i.sets()
}

// keepSet makes a set part of the table, beside those of another guard.
func (c *compiled) keepSet(s *set) *set {
	s.Name += c.end
	c.sets = append(c.sets, s)
	return s
}

// target goes to the class of who asks.
func (c *compiled) target(t *peers.Target, i int, y course) {
	ipv6 := t.To.First.Is6()
	from := newIndex("from", fmt.Sprintf("-%d%s", i, y.end), addressType(ipv6), toChain)
	for _, s := range t.Sources {
		from.add(s.From.First.AsSlice(), s.From.Last.AsSlice(), fmt.Sprintf("class-%d%s", s.Class, y.end))
	}
	var rules []rule
	for _, s := range c.keep(from) {
		rules = append(rules, rule{family(ipv6), address(ipv6, !y.back), s})
	}
	c.chains = append(c.chains, plain(fmt.Sprintf("to-%d%s", i, y.end), append(rules, refuse())...))
}

// class counts by the flow that lets a service in, and lets it in.
func (c *compiled) class(w *peers.Wall, i int) {
	class, pass := &w.Policy.Classes[i], then(expr.VerdictAccept, "")
	tcp, udp := c.services(w, "tcp", i, class.TCP), c.services(w, "udp", i, class.UDP)
	for _, y := range courses() {
		var rules []rule
		for _, s := range tcp {
			rules = append(rules, rule{ports(unix.IPPROTO_TCP, y.port), s, pass})
		}
		for _, s := range udp {
			rules = append(rules, rule{ports(unix.IPPROTO_UDP, y.port), s, pass})
		}
		if class.ICMP != 0 {
			rules = append(rules, rule{protocols(unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6), count(w.Counter(class.ICMP)), pass})
		}
		if class.Any != 0 {
			rules = append(rules, rule{count(w.Counter(class.Any)), pass})
		}
		c.chains = append(c.chains, plain(fmt.Sprintf("class-%d%s", i, y.end), append(rules, refuse())...))
	}
}

func (c *compiled) services(w *peers.Wall, protocol string, class int, list []peers.PortRule) []*set {
	which := newIndex(protocol, fmt.Sprintf("-%d", class), nftables.TypeInetService, toCounter)
	for _, r := range list {
		which.add(port(r.First), port(r.Last), w.Counter(r.Flow))
	}
	return c.keep(which)
}
