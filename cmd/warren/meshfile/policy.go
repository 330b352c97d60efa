package meshfile

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v4"

	"github.com/warren-mesh/warren/peers"
)

func (r *reader) policy(root *yaml.Node, at string) {
	r.fields(root, at, map[string]func(*yaml.Node, string){
		"flows": func(n *yaml.Node, at string) {
			for i, item := range r.list(n, at) {
				r.flow(item, at+"/"+strconv.Itoa(i))
			}
		},
		"tests": func(n *yaml.Node, at string) {
			for i, item := range r.list(n, at) {
				r.test(item, at+"/"+strconv.Itoa(i))
			}
		},
	}, "flows")
}

func (r *reader) flow(n *yaml.Node, at string) {
	var f peers.Flow
	r.fields(n, at, map[string]func(*yaml.Node, string){
		"from":  func(n *yaml.Node, at string) { f.From = each(r, n, at, peers.ParseSelector) },
		"to":    func(n *yaml.Node, at string) { f.To = each(r, n, at, peers.ParseSelector) },
		"allow": func(n *yaml.Node, at string) { f.Allow = each(r, n, at, peers.ParseService) },
	}, "from", "to", "allow")
	r.file.Policy.Flows = append(r.file.Policy.Flows, f)
}

func (r *reader) test(n *yaml.Node, at string) {
	var t peers.FlowTest
	r.fields(n, at, map[string]func(*yaml.Node, string){
		"from":  func(n *yaml.Node, at string) { t.From = one(r, n, at, peers.ParseSelector) },
		"to":    func(n *yaml.Node, at string) { t.To = one(r, n, at, peers.ParseSelector) },
		"proto": func(n *yaml.Node, at string) { t.Proto = one(r, n, at, peers.ParseService) },
		"expect": func(n *yaml.Node, at string) {
			t.Expect = one(r, n, at, func(s string) (peers.TestExpect, error) {
				if e := peers.TestExpect(s); e == peers.ExpectAllow || e == peers.ExpectDeny {
					return e, nil
				}
				return "", fmt.Errorf("%.40q is nothing to expect: write allow or deny", s)
			})
		},
	}, "from", "to", "proto", "expect")
	r.file.Policy.Tests = append(r.file.Policy.Tests, t)
}
