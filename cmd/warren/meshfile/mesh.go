package meshfile

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/warren-mesh/warren/peers"
)

// Words for what is not there.
const none = "none"

// Parse reads a file with sections. The error is peers.Problems, with all that is wrong with it.
func Parse(raw []byte) (*File, error) {
	r := &reader{file: &File{lines: map[string]int{}}, code: "mesh-file", hint: "warren apply --help"}
	root, err := document(raw)
	switch {
	case err != nil:
		r.refuse(nil, "", "%v", err)
	case root.Kind != yaml.MappingNode || len(root.Content) == 0:
		r.refuse(root, "", "want one or more of settings, schedule, sites, hosts, policy")
	default:
		r.sections(root)
	}
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return r.file, nil
}

func (r *reader) sections(root *yaml.Node) {
	d := &r.file.Declared
	r.fields(root, "", map[string]func(*yaml.Node, string){
		"settings": func(n *yaml.Node, _ string) { d.Settings = r.settings(n) },
		"schedule": func(n *yaml.Node, _ string) { d.Schedule = r.schedule(n) },
		"sites": func(n *yaml.Node, at string) {
			d.Sites = []peers.SetSite{}
			r.entries(n, at, func(name string, n *yaml.Node) { d.Sites = append(d.Sites, r.site(name, n)) })
		},
		"hosts": func(n *yaml.Node, at string) {
			d.Hosts = []peers.DeclaredHost{}
			r.entries(n, at, func(name string, n *yaml.Node) { d.Hosts = append(d.Hosts, r.host(name, n)) })
		},
		"policy": func(n *yaml.Node, _ string) {
			r.policy(n, "policy")
			d.Policy = &r.file.Policy
		},
	})
}

// settings reads the settings of the mesh by the names that warren mesh set knows.
func (r *reader) settings(n *yaml.Node) *peers.SetMesh {
	op := &peers.SetMesh{}
	if empty(n) {
		return op
	}
	number := func(to **int) func(*yaml.Node, string) {
		return func(n *yaml.Node, at string) { v := one(r, n, at, whole); *to = &v }
	}
	r.fields(n, "mesh", map[string]func(*yaml.Node, string){
		"mtu":       number(&op.MTU),
		"keepalive": number(&op.Keepalive),
		"grace":     func(n *yaml.Node, at string) { v := one(r, n, at, seconds); op.Grace = &v },
	})
	return op
}

func whole(s string) (int, error) {
	v, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("%.40q: want a whole number", s)
	}
	return v, nil
}

func seconds(s string) (int, error) {
	d, err := peers.ParseSpan(s)
	if err != nil {
		return 0, fmt.Errorf("%.40q: %v", s, err)
	}
	return int(d / time.Second), nil
}

func (r *reader) schedule(n *yaml.Node) *peers.Rotations {
	const at = "mesh/schedule"
	r.file.lines[at] = n.Line
	if n.Kind == yaml.ScalarNode && n.Value == none {
		return &peers.Rotations{}
	}
	s := &peers.Schedule{}
	r.fields(n, at, map[string]func(*yaml.Node, string){
		"every":    func(n *yaml.Node, at string) { s.Every = int64(one(r, n, at, seconds)) },
		"windows":  func(n *yaml.Node, at string) { s.Windows = each(r, n, at, peers.ParseWindow) },
		"catch_up": func(n *yaml.Node, at string) { s.CatchUp = one(r, n, at, strconv.ParseBool) },
	}, "every")
	return &peers.Rotations{Schedule: s}
}

// site reads a site: its fields are those of the operation that sets one.
func (r *reader) site(name string, n *yaml.Node) peers.SetSite {
	op := peers.SetSite{Name: name}
	at := "site/" + name
	r.file.lines[at] = n.Line
	if !empty(n) {
		r.fields(n, at, r.intoFields(&op, "name"))
	}
	return op
}

func (r *reader) host(name string, n *yaml.Node) peers.DeclaredHost {
	h := peers.DeclaredHost{Name: name}
	at := "host/" + name
	r.file.lines[at] = n.Line
	if empty(n) {
		return h
	}
	r.fields(n, at, map[string]func(*yaml.Node, string){
		"labels": func(n *yaml.Node, at string) {
			labels := map[string]string{}
			r.entries(n, at, func(key string, n *yaml.Node) {
				labels[key] = one(r, n, at+"/"+key, func(s string) (string, error) { return s, nil })
			})
			if len(labels) > 0 {
				h.Labels = labels
			}
		},
	})
	return h
}

// known are the names of fields, for messages.
func known(fields map[string]func(*yaml.Node, string), needed []string) string {
	if len(needed) > 0 {
		return strings.Join(needed, ", ")
	}
	return strings.Join(sortedKeys(fields), ", ")
}
