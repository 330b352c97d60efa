package peers

import (
	"cmp"
	"net/netip"
	"slices"
)

// A Filter is the policy of one host in the form in which a kernel decides by a few look-ups: where to, where
// from, and then which service. What is not in it is not let in.
type Filter struct {
	Targets []Target // ascending, without overlaps
	Classes []Class
}

// A Target is a part of the addresses that a host lets in to.
type Target struct {
	To      Range
	Sources []Source // ascending, without overlaps
}

// A Source is addresses from which the same is let in.
type Source struct {
	From  Range
	Class int // in Filter.Classes
}

// A Class is what is let in, with the flow that allows it: the first of the policy where several do. Flows
// have the numbers of GateRule, 0 is none.
type Class struct {
	Any, ICMP int
	TCP, UDP  []PortRule // ascending, without overlaps
}

// A PortRule lets ports in.
type PortRule struct {
	Ports
	Flow int
}

// Filter compiles the rules of the guard for the peers of the plan; nil where everything is let in.
func (p *Plan) Filter() *Filter {
	if p.Gate == nil || !p.Gate.Policy {
		return nil
	}
	c := &filterer{gate: p.Gate, plan: p, classes: map[string]int{}, filter: &Filter{}}
	rules := p.Gate.Rules
	c.sources = make([][]netip.Prefix, len(rules))
	to := newSplitter(len(rules))
	for i := range rules {
		c.sources[i] = p.sources(&rules[i])
		for _, t := range rules[i].To {
			to.add(t.Masked(), i)
		}
	}
	for _, ipv6 := range []bool{false, true} {
		for _, t := range to.split(ipv6) {
			c.target(t, ipv6)
		}
	}
	return c.filter
}

type filterer struct {
	gate    *Gate
	plan    *Plan
	sources [][]netip.Prefix // by rule
	classes map[string]int   // by the set of rules
	filter  *Filter
}

// target adds what is let in to a range: by the rules of its tags.
func (c *filterer) target(t tagged, ipv6 bool) {
	from := newSplitter(len(c.gate.Rules))
	for _, i := range flowsIn(t.tags) {
		for _, p := range c.sources[i] {
			if p.Addr().Is6() == ipv6 {
				from.add(p.Masked(), i)
			}
		}
	}
	out := Target{To: t.Range}
	for _, s := range from.split(ipv6) {
		out.Sources = append(out.Sources, Source{From: s.Range, Class: c.class(s.tags)})
	}
	if len(out.Sources) > 0 {
		c.filter.Targets = append(c.filter.Targets, out)
	}
}

// class finds or makes the class of a set of rules.
func (c *filterer) class(set string) int {
	if at, ok := c.classes[set]; ok {
		return at
	}
	var out Class
	var tcp, udp []PortRule
	for _, i := range flowsIn(set) {
		rule := &c.gate.Rules[i]
		for _, s := range rule.Allow {
			switch s.Protocol {
			case AnyProtocol:
				out.Any = cmp.Or(out.Any, rule.Flow)
			case ICMP:
				out.ICMP = cmp.Or(out.ICMP, rule.Flow)
			case TCP:
				tcp = append(tcp, PortRule{s.Ports, rule.Flow})
			case UDP:
				udp = append(udp, PortRule{s.Ports, rule.Flow})
			}
		}
	}
	out.TCP, out.UDP = disjoint(tcp), disjoint(udp)
	c.classes[set] = len(c.filter.Classes)
	c.filter.Classes = append(c.filter.Classes, out)
	return c.classes[set]
}

// disjoint takes from each range what one before it has.
func disjoint(rules []PortRule) []PortRule {
	var out []PortRule
	for _, r := range rules {
		out = append(out, without(r, out)...)
	}
	slices.SortFunc(out, func(a, b PortRule) int { return cmp.Compare(a.First, b.First) })
	return out
}

// without is a range of ports less others.
func without(r PortRule, taken []PortRule) []PortRule {
	left := []PortRule{r}
	for _, t := range taken {
		var next []PortRule
		for _, l := range left {
			next = append(next, minus(l, t)...)
		}
		left = next
	}
	return left
}

func minus(l, t PortRule) (out []PortRule) {
	if t.Last < l.First || l.Last < t.First {
		return []PortRule{l}
	}
	if l.First < t.First {
		out = append(out, PortRule{Ports{l.First, t.First - 1}, l.Flow})
	}
	if t.Last < l.Last {
		out = append(out, PortRule{Ports{t.Last + 1, l.Last}, l.Flow})
	}
	return out
}

// Decide is the flow that lets something in; 0 for none. Protocols other than TCP, UDP and ICMP are let in by
// flows that allow everything.
func (f *Filter) Decide(from, to netip.Addr, protocol Protocol, port uint16) int {
	for i := range f.Targets {
		t := &f.Targets[i]
		if !t.To.contains(to) {
			continue
		}
		at, ok := slices.BinarySearchFunc(t.Sources, from, func(s Source, a netip.Addr) int {
			switch {
			case s.From.Last.Less(a):
				return -1
			case a.Less(s.From.First):
				return 1
			}
			return 0
		})
		if ok {
			return f.Classes[t.Sources[at].Class].decide(protocol, port)
		}
	}
	return 0
}

func (r Range) contains(a netip.Addr) bool { return r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0 }

func (c *Class) decide(protocol Protocol, port uint16) int {
	ports := c.TCP
	switch protocol {
	case ICMP:
		return cmp.Or(c.ICMP, c.Any)
	case UDP:
		ports = c.UDP
	case TCP:
	default:
		return c.Any
	}
	for _, r := range ports {
		if r.First <= port && port <= r.Last {
			return r.Flow
		}
	}
	return c.Any
}
