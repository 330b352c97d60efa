package peers

import (
	"fmt"
	"slices"
)

// testPolicy holds the policy against its tests.
func (inv *Inventory) testPolicy() Problems {
	var problems Problems
	ends := inv.ends()
	for i := range inv.Policy.Tests {
		t := &inv.Policy.Tests[i]
		at := fmt.Sprintf("policy/tests/%d", i)
		from, to := chosen(ends, t.From), chosen(ends, t.To)
		switch {
		case len(from) == 0:
			problems.addf("test-empty", at, "warren host ls", "%v selects nobody, so the test tells nothing", t.From)
		case len(to) == 0:
			problems.addf("test-empty", at, "warren host ls", "%v selects nobody, so the test tells nothing", t.To)
		default:
			if a, b, ok := inv.Policy.refutes(t, from, to); ok {
				problems.addf("test-failed", at, "change the flows or the test, then: warren policy check FILE",
					"%v to %v %v is expected to be %s, but is not from %s to %s", t.From, t.To, t.Proto, t.Expect, a, b)
			}
		}
	}
	return problems
}

// ends are all hosts that may take part, by name, and all networks of sites.
func (inv *Inventory) ends() []end {
	var out []end
	for _, h := range inv.SortedHosts() {
		if h.State != HostRevoked {
			out = append(out, end{host: h, site: h.Site, prefixes: h.Addresses()})
		}
	}
	for _, s := range inv.sortedSites() {
		known := s.Known()
		for i := range known {
			out = append(out, end{site: s.Name, prefixes: known[i : i+1]})
		}
	}
	return out
}

// String names the end for people.
func (e *end) String() string {
	if e.host != nil {
		return e.host.Name
	}
	return fmt.Sprint(e.prefixes[0])
}

// chosen are the ends that a selector selects, each as far as it does.
func chosen(ends []end, s Selector) (out []*end) {
	for i := range ends {
		switch {
		case !s.selects(&ends[i]):
		case s.Kind == SelectPrefix:
			part := ends[i]
			part.prefixes = within(s.Prefix, part.prefixes)
			out = append(out, &part)
		default:
			out = append(out, &ends[i])
		}
	}
	return out
}

// refutes finds two ends for which the policy is not what a test expects.
func (p *Policy) refutes(t *FlowTest, from, to []*end) (a, b *end, ok bool) {
	for _, a := range from {
		for _, b := range to {
			if a.host != nil && a.host == b.host {
				continue // what a host says to itself is nobody's business
			}
			good := p.allows(a, b, t.Proto)
			if t.Expect == ExpectDeny {
				good = !p.touches(a, b, t.Proto)
			}
			if !good {
				return a, b, true
			}
		}
	}
	return nil, nil, false
}

// allows reports whether a flow allows all of a service between all of two ends.
func (p *Policy) allows(a, b *end, s Service) bool {
	return slices.ContainsFunc(p.Flows, func(f Flow) bool {
		return slices.ContainsFunc(f.From, a.wholly) && slices.ContainsFunc(f.To, b.wholly) &&
			slices.ContainsFunc(f.Allow, func(o Service) bool { return o.covers(s) })
	})
}

// touches reports whether a flow allows something of a service between parts of two ends.
func (p *Policy) touches(a, b *end, s Service) bool {
	return slices.ContainsFunc(p.Flows, func(f Flow) bool {
		return slices.ContainsFunc(f.From, a.partly) && slices.ContainsFunc(f.To, b.partly) &&
			slices.ContainsFunc(f.Allow, func(o Service) bool { return o.touches(s) })
	})
}

func (e *end) partly(s Selector) bool { return s.selects(e) }

// wholly reports whether a selector selects all of the end. A host with addresses of two families is there
// when one of them is selected: a prefix has only one.
func (e *end) wholly(s Selector) bool {
	if s.Kind != SelectPrefix {
		return s.selects(e)
	}
	for _, p := range e.prefixes {
		if s.Prefix.Bits() <= p.Bits() && s.Prefix.Contains(p.Addr()) {
			return true
		}
	}
	return false
}
