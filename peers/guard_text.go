package peers

import (
	"fmt"
	"slices"
	"strings"
)

// String prints the guard in the manner of nft(8).
func (g Guard) String() string {
	t := &guardText{}
	t.line(0, "table inet %s {", GuardTable)
	if g.Wall != nil {
		for _, c := range g.Wall.Counters() {
			t.line(1, "counter %s", c)
		}
	}
	if g.notes() {
		for _, family := range []string{"ipv4", "ipv6"} {
			t.line(1, "set knocks_%s {", family)
			t.line(2, "type %s_addr", family)
			t.line(2, "size %d", MostKnocks)
			t.line(2, "flags dynamic,timeout")
			t.line(2, "timeout %v", KnockKept)
			t.line(1, "}")
		}
	}
	if g.Wall != nil && g.Wall.Policy != nil {
		t.maps(g.Wall)
	}
	if g.Clamp {
		t.base("clamp", "forward", "mangle",
			`iifname "wrn*" tcp flags syn / syn,rst tcp option maxseg size set rt mtu`,
			`oifname "wrn*" tcp flags syn / syn,rst tcp option maxseg size set rt mtu`)
	}
	if g.notes() {
		t.base("knocks", "input", "mangle", g.knockRules()...)
	}
	if g.Wall != nil {
		t.wall(g.Wall)
	}
	t.line(0, "}")
	return t.String()
}

type guardText struct{ strings.Builder }

func (t *guardText) line(depth int, format string, args ...any) {
	t.WriteString(strings.Repeat("\t", depth))
	fmt.Fprintf(t, format+"\n", args...)
}

// base prints a chain that packets come into by themselves.
func (t *guardText) base(name, hook, priority string, rules ...string) {
	t.line(1, "chain %s {", name)
	t.line(2, "type filter hook %s priority %s; policy accept;", hook, priority)
	t.rules(rules)
}

func (t *guardText) chain(name string, rules ...string) {
	t.line(1, "chain %s {", name)
	t.rules(rules)
}

func (t *guardText) rules(rules []string) {
	for _, r := range rules {
		t.line(2, "%s", r)
	}
	t.line(1, "}")
}

func (t *guardText) wall(w *Wall) {
	ports := fmt.Sprintf("{ %d, %d }", w.Ports[0], w.Ports[1])
	t.nat(w.NAT)
	away := []string{`oifname "wrn*" return`}
	if w.Policy != nil {
		t.policy(w)
		away = []string{`oifname "wrn*" ct direction reply goto answers`}
	}
	switch {
	case len(w.Inside) > 0:
		t.base("spoof", "prerouting", "raw", slices.Concat([]string{
			`iifname "lo" return`, `iifname "wrn*" return`, "udp dport " + ports + " return",
		}, inside("saddr", w.Inside, CounterSpoofed))...)
		if w.Policy != nil {
			away = append(away, `oifname "wrn*" return`)
		}
		if w.Doubled {
			away = append(away, fmt.Sprintf("meta mark %#x return", DoubleMark))
		}
		t.base("leave", "postrouting", "srcnat + 10", slices.Concat([]string{`oifname "lo" return`}, away,
			[]string{"udp sport " + ports + " return"}, inside("daddr", w.Inside, CounterLeaked))...)
	case w.Policy != nil:
		t.base("leave", "postrouting", "srcnat + 10", away...)
	}
	if w.Policy == nil {
		t.base("arrive", "prerouting", "mangle", `iifname "wrn*" ct state new counter name "`+CounterOpened+`"`)
		t.chain("through", slices.Concat([]string{"ct direction reply return", "ct state related return", "ct status dnat return"},
			verdicts("daddr", w.Behind, "return"), []string{`counter name "` + CounterStrayed + `" drop`})...)
		t.base("stray", "forward", "filter", `iifname "wrn*" goto through`)
		return
	}
	var rules []string
	for _, own := range w.Own {
		rules = append(rules, fmt.Sprintf(`iifname "wrn*" %s daddr %v udp dport %d accept`, familyOf(own.Is6()), own, ProbePort))
	}
	t.base("arrive", "prerouting", "mangle", append(rules, `iifname "wrn*" goto asked`)...)
}

func familyOf(ipv6 bool) string {
	if ipv6 {
		return "ip6"
	}
	return "ip"
}

// inside are the rules about addresses that are reached through tunnels only.
func inside(which string, all []Range, counter string) []string {
	return verdicts(which, all, fmt.Sprintf("counter name %q drop", counter))
}

// verdicts are the rules that end in a verdict for addresses in any of the ranges.
func verdicts(which string, all []Range, verdict string) (rules []string) {
	for _, f := range []struct {
		name string
		ipv6 bool
	}{{"ip", false}, {"ip6", true}} {
		if list := ofFamily(all, f.ipv6); len(list) > 0 {
			rules = append(rules, fmt.Sprintf("%s %s { %s } %s", f.name, which, ranges(list), verdict))
		}
	}
	return rules
}

func ofFamily(all []Range, ipv6 bool) (out []Range) {
	for _, r := range all {
		if r.First.Is6() == ipv6 {
			out = append(out, r)
		}
	}
	return out
}

func ranges(list []Range) string {
	out := make([]string, len(list))
	for i, r := range list {
		out[i] = r.text()
	}
	return strings.Join(out, ", ")
}

// text is the range as nft(8) prints it: as a prefix where it is one.
func (r Range) text() string {
	for bits := range r.First.BitLen() {
		if p, err := r.First.Prefix(bits); err == nil && p.Addr() == r.First && RangeOf(p) == r {
			return p.String()
		}
	}
	return r.String()
}

// maps prints the maps that chains look things up in.
func (t *guardText) maps(w *Wall) {
	one := func(name, key string, elements []string) {
		t.line(1, "map %s {", name)
		t.line(2, "type %s : verdict", key)
		t.line(2, "flags constant,interval")
		t.line(2, "elements = { %s }", strings.Join(elements, ", "))
		t.line(1, "}")
	}
	for i := range w.Policy.Classes {
		c := &w.Policy.Classes[i]
		for _, p := range c.services() {
			var elements []string
			for _, r := range p.ports {
				elements = append(elements, fmt.Sprintf("%v : goto %s", r.Ports, w.Counter(r.Flow)))
			}
			one(fmt.Sprintf("%s-%d", p.name, i), "inet_service", elements)
		}
	}
	for i := range w.Policy.Targets {
		target := &w.Policy.Targets[i]
		var elements []string
		for _, s := range target.Sources {
			elements = append(elements, fmt.Sprintf("%s : goto class-%d", s.From.text(), s.Class))
		}
		one(fmt.Sprintf("from-%d", i), addressType(target.To.First.Is6()), elements)
	}
	for _, ipv6 := range []bool{false, true} {
		var elements []string
		for i := range w.Policy.Targets {
			if to := w.Policy.Targets[i].To; to.First.Is6() == ipv6 {
				elements = append(elements, fmt.Sprintf("%s : goto to-%d", to.text(), i))
			}
		}
		if len(elements) > 0 {
			one(toMap(ipv6), addressType(ipv6), elements)
		}
	}
}

func toMap(ipv6 bool) string {
	if ipv6 {
		return "to6"
	}
	return "to4"
}

func addressType(ipv6 bool) string {
	if ipv6 {
		return "ipv6_addr"
	}
	return "ipv4_addr"
}

// services are the ports of a class by protocol, without those that have none.
func (c *Class) services() (out []protocolPorts) {
	for _, p := range []protocolPorts{{TCP, c.TCP}, {UDP, c.UDP}} {
		if len(p.ports) > 0 {
			out = append(out, p)
		}
	}
	return out
}

type protocolPorts struct {
	name  Protocol
	ports []PortRule
}

// policy prints the chains that decide. Those that are gone to come first, as they are made.
func (t *guardText) policy(w *Wall) {
	const refuse = `counter name "` + CounterRefused + `" drop`
	for _, f := range w.Counters() {
		if strings.HasPrefix(f, "flow-") {
			t.chain(f, `counter name "`+f+`" accept`)
		}
	}
	for i := range w.Policy.Classes {
		t.chain(fmt.Sprintf("class-%d", i), append(w.classRules(i), refuse)...)
	}
	var rules []string
	for i := range w.Policy.Targets {
		family := familyOf(w.Policy.Targets[i].To.First.Is6())
		t.chain(fmt.Sprintf("to-%d", i),
			fmt.Sprintf("ct direction original %s saddr vmap @from-%d", family, i),
			fmt.Sprintf("ct direction reply %s daddr vmap @from-%d", family, i), refuse)
	}
	for _, ipv6 := range []bool{false, true} {
		if slices.ContainsFunc(w.Policy.Targets, func(t Target) bool { return t.To.First.Is6() == ipv6 }) {
			rules = append(rules,
				fmt.Sprintf("ct direction original %s daddr vmap @%s", familyOf(ipv6), toMap(ipv6)),
				fmt.Sprintf("ct direction reply %s saddr vmap @%s", familyOf(ipv6), toMap(ipv6)))
		}
	}
	t.chain("decide", append(rules, refuse)...)
	t.chain("asked",
		"ct state related accept", "ct direction reply accept",
		"icmp type { destination-unreachable, time-exceeded, parameter-problem } accept",
		"icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept",
		"goto decide")
	t.chain("answers", "ct state related accept", fmt.Sprintf("udp sport %d accept", ProbePort), "goto decide")
}

func (w *Wall) classRules(i int) (rules []string) {
	c := &w.Policy.Classes[i]
	for _, p := range c.services() {
		rules = append(rules,
			fmt.Sprintf("ct direction original %s dport vmap @%s-%d", p.name, p.name, i),
			fmt.Sprintf("ct direction reply %s sport vmap @%s-%d", p.name, p.name, i))
	}
	if c.ICMP != 0 {
		rules = append(rules, "meta l4proto { icmp, ipv6-icmp } goto "+w.Counter(c.ICMP))
	}
	if c.Any != 0 {
		rules = append(rules, "goto "+w.Counter(c.Any))
	}
	return rules
}
