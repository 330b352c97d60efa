package policyfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/warren-mesh/warren/peers"
)

// MaxSize is how large a file may be.
const MaxSize = 1 << 20

const hintHelp = "warren policy apply --help"

// A File is a policy and where its parts stand.
type File struct {
	Policy peers.Policy
	lines  map[string]int // by what peers calls the place
}

// Parse reads a file. The error is peers.Problems, with all that is wrong with it.
func Parse(raw []byte) (*File, error) {
	r := &reader{file: &File{lines: map[string]int{}}}
	root, err := document(raw)
	if err != nil {
		r.refuse(nil, "policy", "%v", err)
		return nil, r.problems
	}
	r.policy(root)
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return r.file, nil
}

// document is the one document of a file as a tree. Aliases are not followed: a few of them can make up more
// than any machine can hold.
func document(raw []byte) (*yaml.Node, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("%d bytes are too much for a policy: %d at most", len(raw), MaxSize)
	}
	d := yaml.NewDecoder(bytes.NewReader(raw))
	var doc, more yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, errors.New("there is nothing in it")
	case err != nil:
		return nil, err
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one document in it")
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, errors.New("there is no document in it")
	}
	return doc.Content[0], nil
}

// Line is where a problem that peers found stands; 0 where it is about no line.
func (f *File) Line(at string) int {
	for at != "" {
		if n := f.lines[at]; n > 0 {
			return n
		}
		at = at[:max(0, strings.LastIndexByte(at, '/'))]
	}
	return 0
}

// A reader takes a tree apart and keeps all that is wrong.
type reader struct {
	file     *File
	problems peers.Problems
}

func (r *reader) refuse(n *yaml.Node, at, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if n != nil {
		message = fmt.Sprintf("line %d: %s", n.Line, message)
	}
	r.problems = append(r.problems, peers.Problem{Code: "policy-file", At: at, Message: message, Hint: hintHelp})
}

func (r *reader) policy(root *yaml.Node) {
	r.file.lines["policy"] = root.Line
	r.fields(root, "policy", map[string]func(*yaml.Node, string){
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

// fields hands each field of a mapping to whom it is for. Unknown, missing and repeated ones are refused.
func (r *reader) fields(n *yaml.Node, at string, known map[string]func(*yaml.Node, string), needed ...string) {
	r.file.lines[at] = n.Line
	if n.Kind != yaml.MappingNode {
		r.refuse(n, at, "want %s", strings.Join(needed, ", "))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		take := known[name.Value]
		switch {
		case name.Kind != yaml.ScalarNode || take == nil:
			r.refuse(name, at, "there is no field %.40q here", name.Value)
		case seen[name.Value]:
			r.refuse(name, at, "%s is there twice", name.Value)
		default:
			seen[name.Value] = true
			r.file.lines[at+"/"+name.Value] = value.Line
			take(value, at+"/"+name.Value)
		}
	}
	for _, name := range needed {
		if !seen[name] {
			r.refuse(n, at, "%s is missing", name)
		}
	}
}

func (r *reader) list(n *yaml.Node, at string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		r.refuse(n, at, "want a list")
		return nil
	}
	return n.Content
}

// each reads a list, or one alone.
func each[T any](r *reader, n *yaml.Node, at string, parse func(string) (T, error)) []T {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
		if len(items) == 0 {
			r.refuse(n, at, "there is nothing in the list")
		}
	}
	out := make([]T, 0, len(items))
	for i, item := range items {
		out = append(out, one(r, item, at+"/"+strconv.Itoa(i), parse))
	}
	return out
}

func one[T any](r *reader, n *yaml.Node, at string, parse func(string) (T, error)) (v T) {
	r.file.lines[at] = n.Line
	if n.Kind != yaml.ScalarNode {
		r.refuse(n, at, "want one word")
		return v
	}
	v, err := parse(n.Value)
	if err != nil {
		r.refuse(n, at, "%v", err)
	}
	return v
}
