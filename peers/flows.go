package peers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A FlowChange says what opens and what closes between each of From and each of To, which are names of hosts
// and networks of sites.
type FlowChange struct {
	From   []string  `json:"from"`
	To     []string  `json:"to"`
	Opens  []Service `json:"opens,omitempty"`
	Closes []Service `json:"closes,omitempty" doc:"* is everything but what is in keeps"`
	Keeps  []Service `json:"keeps,omitempty"`
}

// FlowChanges compares what is allowed before and after a change, whatever the change was.
func FlowChanges(before, after *Inventory) []FlowChange {
	c := comparison{before: before, after: after, known: map[[2]common]FlowChange{}}
	groups := c.groups()
	var out []FlowChange
	for _, x := range groups {
		rows := map[string]*FlowChange{} // by what changes
		for _, y := range groups {
			if x == y && len(x.names) == 1 {
				continue
			}
			row := c.compare(x, y)
			if len(row.Opens)+len(row.Closes) == 0 {
				continue
			}
			id := fmt.Sprint(row.Opens, row.Closes, row.Keeps)
			if known := rows[id]; known != nil {
				known.To = append(known.To, y.names...)
				continue
			}
			row.From, row.To = x.names, slices.Clone(y.names)
			rows[id] = &row
		}
		for _, id := range slices.Sorted(maps.Keys(rows)) {
			slices.Sort(rows[id].To)
			out = append(out, *rows[id])
		}
	}
	return mergeFrom(out)
}

// mergeFrom puts rows together that differ in From only.
func mergeFrom(rows []FlowChange) []FlowChange {
	var out []FlowChange
	at := map[string]int{}
	for _, r := range rows {
		id := fmt.Sprint(r.To, r.Opens, r.Closes, r.Keeps)
		if i, ok := at[id]; ok {
			out[i].From = append(slices.Clone(out[i].From), r.From...)
			slices.Sort(out[i].From)
			continue
		}
		at[id] = len(out)
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b FlowChange) int { return slices.Compare(a.From, b.From) })
	return out
}

// A comparison is of two inventories. Ends that have the same part in both are looked at once, and so are flows.
type comparison struct {
	before, after *Inventory
	known         map[[2]common]FlowChange
}

// A group is ends with the same part in the flows of both policies.
type group struct {
	names         []string
	before, after part
}

// A part is in which flows an end may be the one side, in which the other.
type part struct {
	there    bool
	from, to string
}

func (c *comparison) groups() []*group {
	before, after := parts(c.before), parts(c.after)
	names := map[string]bool{}
	for _, side := range []map[string]part{before, after} {
		for n := range side {
			names[n] = true
		}
	}
	byPart := map[[2]part]*group{}
	var out []*group
	for _, n := range slices.Sorted(maps.Keys(names)) {
		id := [2]part{before[n], after[n]}
		g := byPart[id]
		if g == nil {
			g = &group{before: id[0], after: id[1]}
			byPart[id] = g
			out = append(out, g)
		}
		g.names = append(g.names, n)
	}
	return out
}

// parts are those of all ends, by their names.
func parts(inv *Inventory) map[string]part {
	out := map[string]part{}
	r := inv.Roles()
	ends := inv.ends()
	for i := range ends {
		e := &ends[i]
		if e.host != nil && e.host.State != HostActive {
			continue
		}
		p := part{there: true}
		if r.from != nil {
			p.from, p.to = string(r.from.of(e)), string(r.to.of(e))
		}
		out[e.String()] = p
	}
	return out
}

// A common is the flows between two ends, if there are both of them.
type common struct {
	there bool
	flows string
}

func (c *comparison) compare(x, y *group) FlowChange {
	id := [2]common{x.before.between(y.before), x.after.between(y.after)}
	row, ok := c.known[id]
	if ok {
		return row
	}
	before, after := c.before.services(id[0]), c.after.services(id[1])
	row = FlowChange{Opens: after.less(before).list(), Closes: before.less(after).list()}
	if before.all != after.all {
		row.Keeps = before.both(after).list()
	}
	c.known[id] = row
	return row
}

// between is the flows from one end to another.
func (p part) between(to part) common {
	switch {
	case !p.there || !to.there:
		return common{}
	case !intersect(p.from, to.to):
		return common{there: true}
	}
	set := []byte(p.from)
	for i := range set {
		set[i] &= to.to[i]
	}
	return common{true, string(set)}
}

func (inv *Inventory) services(c common) services {
	if !c.there {
		return services{}
	}
	return servicesOf(inv.Policy, flowsIn(c.flows))
}

// CutOff are the hosts, by name, that have peers before a change and none after it.
func CutOff(before, after *Inventory) []string {
	was, is := before.company(), after.company()
	var out []string
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if was[name] > 0 && is[name] == 0 {
			out = append(out, name)
		}
	}
	return out
}

// company counts the peers of all active hosts.
func (inv *Inventory) company() map[string]int {
	roles := inv.Planner().Roles()
	out := make(map[string]int, len(roles))
	for a, ra := range roles {
		n := 0
		for b, rb := range roles {
			if a != b && ra.Meets(rb) {
				n++
			}
		}
		out[inv.Hosts[a].Name] = n
	}
	return out
}

// PolicyWarnings are what is odd about the policy without being wrong: flows that say what others say
// already, and selectors that select nobody, for there is nobody yet or nobody any more.
func (inv *Inventory) PolicyWarnings() Problems {
	var out Problems
	if inv.Policy == nil {
		return out
	}
	flows := inv.Policy.Flows
	for i := range flows {
		for j := range flows[:i] {
			if flows[j].covers(&flows[i]) {
				out.addf("policy-shadowed", fmt.Sprintf("policy/flows/%d", i), "leave it out",
					"flow %d allows nothing that flow %d does not: %v", i+1, j+1, &flows[i])
				break
			}
		}
	}
	ends := inv.ends()
	for i := range flows {
		for side, list := range [][]Selector{flows[i].From, flows[i].To} {
			for j, s := range list {
				if s.Kind != SelectPrefix && len(chosen(ends, s)) == 0 {
					out.addf("policy-nobody", fmt.Sprintf("policy/flows/%d/%s/%d", i, []string{"from", "to"}[side], j),
						hintFor(s), "%v selects nobody now", s)
				}
			}
		}
	}
	return out
}

// hintFor is what makes a selector select somebody.
func hintFor(s Selector) string {
	if s.Kind == SelectLabel {
		return "warren host label NAME " + s.Name + "=" + s.Value
	}
	return "warren " + strings.ReplaceAll(string(s.Kind), "site", "host") + " ls"
}
