package peers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// sides are the ends of the names of what is for packets that ask, and for those that answer.
func sides() []string { return []string{"", back} }

const back = "-back"

// An index prints the two maps that keys are looked up in: those that are alone, and ranges.
type index struct {
	name, end, key, value string
	alone, ranges         []string
}

func (i *index) add(alone bool, key, value string) {
	if alone {
		i.alone = append(i.alone, key+" : "+value)
	} else {
		i.ranges = append(i.ranges, key+" : "+value)
	}
}

// names are those of the maps in which there is something.
func (i *index) names() (out []string) {
	if len(i.alone) > 0 {
		out = append(out, i.name+i.end)
	}
	if len(i.ranges) > 0 {
		out = append(out, i.name+"-ranges"+i.end)
	}
	return out
}

func (t *guardText) index(i *index) {
	one := func(name, flags string, elements []string) {
		if len(elements) == 0 {
			return
		}
		t.line(1, "map %s%s {", name, t.end)
		t.line(2, "type %s : %s", i.key, i.value)
		t.line(2, "flags %s", flags)
		t.line(2, "elements = { %s }", strings.Join(elements, ", "))
		t.line(1, "}")
	}
	one(i.name+i.end, "constant", i.alone)
	one(i.name+"-ranges"+i.end, "constant,interval", i.ranges)
}

// maps prints the maps that chains look things up in.
func (t *guardText) maps(w *Wall) {
	for i := range w.Policy.Classes {
		for _, p := range w.Policy.Classes[i].services() {
			t.index(w.portIndex(p, i))
		}
	}
	for _, end := range sides() {
		for i := range w.Policy.Targets {
			t.index(w.sourceIndex(i, end))
		}
		for _, ipv6 := range []bool{false, true} {
			t.index(w.targetIndex(ipv6, end))
		}
	}
}

func (w *Wall) portIndex(p protocolPorts, class int) *index {
	out := &index{name: string(p.name), end: fmt.Sprintf("-%d", class), key: "inet_service", value: "counter"}
	for _, r := range p.ports {
		out.add(r.First == r.Last, r.String(), strconv.Quote(w.Counter(r.Flow)))
	}
	return out
}

func (w *Wall) sourceIndex(i int, end string) *index {
	target := &w.Policy.Targets[i]
	out := &index{name: "from", end: fmt.Sprintf("-%d%s", i, end), key: addressType(target.To.First.Is6()), value: "verdict"}
	for _, s := range target.Sources {
		out.add(s.From.First == s.From.Last, s.From.text(), fmt.Sprintf("goto class-%d%s", s.Class, end))
	}
	return out
}

func (w *Wall) targetIndex(ipv6 bool, end string) *index {
	out := &index{name: "to4", end: end, key: addressType(ipv6), value: "verdict"}
	if ipv6 {
		out.name = "to6"
	}
	for i := range w.Policy.Targets {
		if to := w.Policy.Targets[i].To; to.First.Is6() == ipv6 {
			out.add(to.First == to.Last, to.text(), fmt.Sprintf("goto to-%d%s", i, end))
		}
	}
	return out
}

// policy prints the chains that decide. Those that are gone to come first, as they are made.
func (t *guardText) policy(w *Wall) {
	const refuse = "goto refused"
	var probes []string
	for _, own := range w.Own {
		probes = append(probes,
			fmt.Sprintf("ct direction original %s daddr %v udp dport %d accept", familyOf(own.Is6()), own, ProbePort))
	}
	t.chain("refused", append(probes, fmt.Sprintf("ct direction reply udp sport %d accept", ProbePort), "ct state related accept",
		"icmp type { destination-unreachable, time-exceeded, parameter-problem } accept",
		"icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept",
		`counter name "`+CounterRefused+`" drop`)...)
	for i := range w.Policy.Classes {
		for _, end := range sides() {
			t.chain(fmt.Sprintf("class-%d%s", i, end), append(t.classRules(w, i, end), refuse)...)
		}
	}
	for _, end := range sides() {
		own, other := "daddr", "saddr"
		if end == back {
			own, other = other, own
		}
		for i := range w.Policy.Targets {
			key := familyOf(w.Policy.Targets[i].To.First.Is6()) + " " + other
			t.chain(fmt.Sprintf("to-%d%s", i, end), append(t.lookUps(w.sourceIndex(i, end), key), refuse)...)
		}
		t.chain("decide"+end, slices.Concat(
			t.lookUps(w.targetIndex(false, end), "ip "+own), t.lookUps(w.targetIndex(true, end), "ip6 "+own), []string{refuse})...)
	}
	t.chain("asked", "ct direction reply accept", "ct direction original goto decide", refuse)
	t.chain("away", "ct direction reply goto decide-back")
}

// lookUps are the rules that go where an index says for a key.
func (t *guardText) lookUps(i *index, key string) (rules []string) {
	for _, name := range i.names() {
		rules = append(rules, key+" vmap @"+name+t.end)
	}
	return rules
}

func (t *guardText) classRules(w *Wall, i int, end string) (rules []string) {
	c, port := &w.Policy.Classes[i], "dport"
	if end == back {
		port = "sport"
	}
	for _, p := range c.services() {
		for _, name := range w.portIndex(p, i).names() {
			rules = append(rules, fmt.Sprintf("counter name %s %s map @%s%s accept", p.name, port, name, t.end))
		}
	}
	if c.ICMP != 0 {
		rules = append(rules, fmt.Sprintf("meta l4proto { icmp, ipv6-icmp } counter name %q accept", w.Counter(c.ICMP)))
	}
	if c.Any != 0 {
		rules = append(rules, fmt.Sprintf("counter name %q accept", w.Counter(c.Any)))
	}
	return rules
}
