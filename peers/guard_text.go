package peers

import (
	"fmt"
	"slices"
	"strings"
)

// String prints the guard in the manner of nft(8).
func (g Guard) String() string { return g.text(g.SetEnd()) }

// text prints the guard, with sets whose names end so.
func (g Guard) text(end string) string {
	t := &guardText{end: end}
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
	if g.Wall != nil {
		t.sets(g.Wall)
	}
	if g.Clamp {
		t.base("clamp", "forward", "mangle",
			`iifname "wrn*" tcp flags syn / syn,rst tcp option maxseg size set rt mtu`,
			`oifname "wrn*" tcp flags syn / syn,rst tcp option maxseg size set rt mtu`)
	}
	if g.notes() {
		t.chain("knocked", "update @knocks_ipv4 { ip saddr }", "update @knocks_ipv6 { ip6 saddr }")
	}
	if g.Wall != nil {
		t.wall(g.Wall, g.knockRules())
	} else {
		t.arrive(g.knockRules())
	}
	t.line(0, "}")
	return t.String()
}

type guardText struct {
	strings.Builder
	end string // of the names of what is looked up in
}

// sets prints what rules look things up in.
func (t *guardText) sets(w *Wall) {
	t.ranges("inside", w.Inside)
	if w.Policy != nil {
		t.maps(w)
	} else {
		t.ranges("behind", w.Behind)
	}
}

// ranges prints a set of addresses for each family that has some.
func (t *guardText) ranges(name string, all []Range) {
	for _, ipv6 := range []bool{false, true} {
		list := ofFamily(all, ipv6)
		if len(list) == 0 {
			continue
		}
		t.line(1, "set %s%s%s {", name, digitOf(ipv6), t.end)
		t.line(2, "type %s", addressType(ipv6))
		t.line(2, "flags constant,interval")
		t.line(2, "elements = { %s }", ranges(list))
		t.line(1, "}")
	}
}

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

// arrive prints the chain of all that comes in, whichever way.
func (t *guardText) arrive(rules ...[]string) {
	if all := slices.Concat(rules...); len(all) > 0 {
		t.base("arrive", "prerouting", "mangle", all...)
	}
}

func (t *guardText) wall(w *Wall, knocks []string) {
	t.nat(w.NAT)
	away := `oifname "wrn*" return`
	if w.Policy != nil {
		t.policy(w)
		away = `oifname "wrn*" goto away`
	}
	outside := t.keepIn(w, away)
	if w.Policy == nil {
		t.chain("opened", `ct state new counter name "`+CounterOpened+`"`)
		t.arrive([]string{`iifname "wrn*" goto opened`}, knocks, outside)
		t.chain("through", slices.Concat([]string{"ct direction reply return", "ct state related return", "ct status dnat return"},
			t.verdicts("daddr", "behind", w.Behind, "return"), []string{`counter name "` + CounterStrayed + `" drop`})...)
		t.base("stray", "forward", "filter", `iifname "wrn*" goto through`)
		return
	}
	for _, own := range w.Own {
		outside = append(outside, fmt.Sprintf(`%s daddr %v iifname != "lo" goto asked`, familyOf(own.Is6()), own))
	}
	t.arrive([]string{`iifname "wrn*" goto asked`}, knocks, outside)
}

func familyOf(ipv6 bool) string {
	if ipv6 {
		return "ip6"
	}
	return "ip"
}

// wireguard is how all datagrams of WireGuard begin.
const wireguard = " @th,64,32 { 16777216, 33554432, 50331648, 67108864 }"

// keepIn prints what keeps packets in tunnels, and gives the rules for what claims to have come by one.
func (t *guardText) keepIn(w *Wall, away string) (outside []string) {
	if len(w.Inside) == 0 {
		if w.Policy != nil {
			t.base("leave", "postrouting", "srcnat + 10", away)
		}
		return nil
	}
	ports := fmt.Sprintf("{ %d, %d }", w.Ports[0], w.Ports[1])
	leaked := []string{`oifname "lo" return`}
	if w.Doubled {
		leaked = append(leaked, fmt.Sprintf("meta mark %#x return", DoubleMark))
	}
	t.chain("spoofed", `iifname "lo" return`, "udp dport "+ports+wireguard+" return", `counter name "`+CounterSpoofed+`" drop`)
	t.chain("leaked", append(leaked, "udp sport "+ports+wireguard+" return", `counter name "`+CounterLeaked+`" drop`)...)
	t.base("leave", "postrouting", "srcnat + 10",
		append([]string{away}, t.verdicts("daddr", "inside", w.Inside, "goto leaked")...)...)
	return t.verdicts("saddr", "inside", w.Inside, "jump spoofed")
}

// verdicts are the rules that end in a verdict for addresses in any of the ranges, of which there is a set.
func (t *guardText) verdicts(which, set string, all []Range, verdict string) (rules []string) {
	for _, ipv6 := range []bool{false, true} {
		if len(ofFamily(all, ipv6)) > 0 {
			rules = append(rules, fmt.Sprintf("%s %s @%s%s%s %s", familyOf(ipv6), which, set, digitOf(ipv6), t.end, verdict))
		}
	}
	return rules
}

// digitOf is what sets of addresses of a family have in their names.
func digitOf(ipv6 bool) string {
	if ipv6 {
		return "6"
	}
	return "4"
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
