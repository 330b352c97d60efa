package peers

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Declared is what an admin says of a mesh, all of it or some sections. A section that is nil says nothing;
// one that is there is the whole truth: what it does not name has its default, no labels, or goes.
type Declared struct {
	Settings *SetMesh       `json:"settings,omitempty"`
	Schedule *Rotations     `json:"schedule,omitempty"`
	Sites    []SetSite      `json:"sites,omitzero"`
	Hosts    []DeclaredHost `json:"hosts,omitzero"`
	Policy   *Policy        `json:"policy,omitempty"`
}

// Rotations say how rotations are scheduled: nil for not at all.
type Rotations struct {
	Schedule *Schedule `json:"schedule,omitempty"`
}

// A DeclaredHost is what an admin says of a host that has enrolled.
type DeclaredHost struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
}

// Declare is what was said of the mesh so far. Sites and hosts are in the order of their names. Without a policy
// there is no such section.
func (inv *Inventory) Declare() *Declared {
	settings := inv.settings()
	d := &Declared{
		Settings: &settings, Schedule: &Rotations{inv.Mesh.Schedule},
		Sites: []SetSite{}, Hosts: []DeclaredHost{}, Policy: inv.Policy,
	}
	for _, s := range inv.sortedSites() {
		d.Sites = append(d.Sites, s.declared())
	}
	for _, h := range inv.SortedHosts() {
		if h.State != HostRevoked {
			d.Hosts = append(d.Hosts, DeclaredHost{h.Name, h.Labels})
		}
	}
	return d
}

// declared is the operation that makes the site what it is.
func (s *Site) declared() SetSite { return SetSite(*s) }

// settings are those of the mesh, with their defaults.
func (inv *Inventory) settings() SetMesh {
	m := inv.Mesh
	grace := int(m.GraceTime() / time.Second)
	return SetMesh{MTU: &m.MTU, Keepalive: &m.Keepalive, Grace: &grace}
}

// Toward are the operations that make of the inventory what is declared, in an order in which they can be done;
// none where it is that already. The error is Problems, of what cannot be told by doing them.
func (inv *Inventory) Toward(want *Declared) (Ops, error) {
	t := towards{inv: inv}
	t.settings(want.Settings)
	if s := want.Schedule; s != nil && !s.Schedule.equal(inv.Mesh.Schedule) {
		t.ops = append(t.ops, SetSchedule(*s))
	}
	if want.Sites != nil {
		t.sites(want.Sites)
	}
	if want.Hosts != nil {
		t.hosts(want.Hosts)
	}
	if p := want.Policy; p != nil && !sameJSON(p, inv.Policy) {
		t.ops = append(t.ops, SetPolicy{Policy: *p})
	}
	return t.ops, t.problems.err()
}

// towards gathers operations.
type towards struct {
	inv      *Inventory
	ops      Ops
	problems Problems
}

func (t *towards) settings(want *SetMesh) {
	if want == nil {
		return
	}
	is := t.inv.settings()
	var op SetMesh
	set := func(to **int, want, is *int, byDefault int) {
		if v := cmp.Or(want, &byDefault); *v != *is {
			*to = v
		}
	}
	set(&op.MTU, want.MTU, is.MTU, DefaultMTU)
	set(&op.Keepalive, want.Keepalive, is.Keepalive, DefaultKeepalive)
	set(&op.Grace, want.Grace, is.Grace, int(DefaultGrace/time.Second))
	if op != (SetMesh{}) {
		t.ops = append(t.ops, op)
	}
}

func (t *towards) sites(want []SetSite) {
	named := map[string]bool{}
	var set Ops
	for _, op := range want {
		if named[op.Name] {
			t.problems.addf("site-twice", "site/"+op.Name, "", "site %.80q is there twice", op.Name)
		}
		named[op.Name] = true
		if is := t.inv.Sites[op.Name]; is == nil || !sameJSON(is.declared(), op) {
			set = append(set, op)
		}
	}
	for _, s := range t.inv.sortedSites() {
		if !named[s.Name] {
			t.ops = append(t.ops, RemoveSite{s.Name})
		}
	}
	t.ops = append(t.ops, set...)
}

func (t *towards) hosts(want []DeclaredHost) {
	labels := map[string]map[string]string{}
	for _, h := range want {
		if _, twice := labels[h.Name]; twice {
			t.problems.addf("host-twice", "host/"+h.Name, "", "host %.80q is there twice", h.Name)
		}
		labels[h.Name] = h.Labels
		switch is, known := t.inv.HostNamed(h.Name); {
		case !known:
			t.problems.addf("host-unknown", "host/"+h.Name, "hosts come by enrolling: warren token create --name "+h.Name+" --site SITE",
				"there is no host %.80q", h.Name)
		case is.State == HostRevoked:
			t.problems.addf("host-revoked", "host/"+h.Name,
				"leave it out of the file: warren export shows those that are there", "host %.80q was revoked", h.Name)
		}
	}
	for _, h := range t.inv.SortedHosts() {
		if h.State == HostRevoked {
			continue
		}
		if op := labelsToward(h, labels[h.Name]); len(op.Set)+len(op.Remove) > 0 {
			t.ops = append(t.ops, op)
		}
	}
}

func labelsToward(h *Host, want map[string]string) LabelHost {
	op := LabelHost{ID: h.ID}
	for k, v := range want {
		if is, ok := h.Labels[k]; !ok || is != v {
			if op.Set == nil {
				op.Set = map[string]string{}
			}
			op.Set[k] = v
		}
	}
	for _, k := range slices.Sorted(maps.Keys(h.Labels)) {
		if _, stays := want[k]; !stays {
			op.Remove = append(op.Remove, k)
		}
	}
	return op
}

func sameJSON(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}

// A DeclaredChange is what differs about one object between two that were declared.
type DeclaredChange struct {
	Object string        `json:"object" doc:"settings, schedule, policy, site/NAME or host/NAME"`
	What   string        `json:"what"   enum:"made,changed,removed"`
	Fields []FieldChange `json:"fields"`
}

// A FieldChange is one field before and after, in words; empty where there is nothing.
type FieldChange struct {
	Name   string `json:"name"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// DeclaredChanges compares what was declared before with what is after; both are whole.
func DeclaredChanges(before, after *Declared) []DeclaredChange {
	was, is := before.objects(), after.objects()
	all := maps.Clone(was)
	maps.Copy(all, is)
	var out []DeclaredChange
	for _, key := range slices.Sorted(maps.Keys(all)) {
		c := DeclaredChange{Object: key, What: "changed", Fields: fieldChanges(was[key], is[key])}
		switch {
		case was[key] == nil:
			c.What = "made"
		case is[key] == nil:
			c.What = "removed"
		}
		if len(c.Fields) > 0 || c.What != "changed" {
			out = append(out, c)
		}
	}
	if was, is := out, after.Policy; !slices.ContainsFunc(was, isPolicy) && is != nil && !sameJSON(before.Policy, is) {
		out = append(out, DeclaredChange{"policy", "changed", []FieldChange{{"order", "", "another one, or one is there twice"}}})
	}
	slices.SortStableFunc(out, func(a, b DeclaredChange) int { return cmp.Compare(section(a.Object), section(b.Object)) })
	return out
}

func isPolicy(c DeclaredChange) bool { return c.Object == "policy" }

// section is the place of an object in the file.
func section(object string) int {
	kind, _, _ := strings.Cut(object, "/")
	return slices.Index([]string{"settings", "schedule", "site", "host", "policy"}, kind)
}

// objects are the objects of all sections by their keys, each as fields in words.
func (d *Declared) objects() map[string]map[string]string {
	out := map[string]map[string]string{}
	put := func(key string, v any, hidden ...string) {
		var fields map[string]any
		raw, err := json.Marshal(v)
		if err != nil || json.Unmarshal(raw, &fields) != nil {
			return
		}
		out[key] = map[string]string{}
		for name, value := range fields {
			if !slices.Contains(hidden, name) {
				out[key][name] = inWords(value)
			}
		}
	}
	if d.Settings != nil {
		put("settings", d.Settings)
	}
	if d.Schedule != nil && d.Schedule.Schedule != nil {
		out["schedule"] = map[string]string{"rotations": d.Schedule.Schedule.String()}
	}
	for _, s := range d.Sites {
		put("site/"+s.Name, s, "name")
	}
	for _, h := range d.Hosts {
		put("host/"+h.Name, h, "name")
	}
	if d.Policy != nil {
		out["policy"] = d.Policy.objects()
	}
	return out
}

// objects are flows and tests by what they say, so that those show which come and go.
func (p *Policy) objects() map[string]string {
	out := map[string]string{}
	for i := range p.Flows {
		out["flow "+p.Flows[i].String()] = "there"
	}
	for i := range p.Tests {
		out["test "+p.Tests[i].String()] = "there"
	}
	return out
}

func fieldChanges(was, is map[string]string) []FieldChange {
	all := maps.Clone(was)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, is)
	out := []FieldChange{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if was[name] != is[name] {
			out = append(out, FieldChange{name, was[name], is[name]})
		}
	}
	return out
}

// inWords puts a value of JSON in a line.
func inWords(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		return joined(v, inWords)
	case map[string]any:
		var out []string
		if p, ok := v["prefix"]; ok { // comes first, and needs no name
			out = append(out, inWords(p))
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if k != "prefix" {
				out = append(out, k+" "+inWords(v[k]))
			}
		}
		return strings.Join(out, " ")
	}
	return fmt.Sprint(v)
}
