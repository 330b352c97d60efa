package meshfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"go.yaml.in/yaml/v4"

	"github.com/warren-mesh/warren/peers"
)

// document is the one document of a file as a tree. Aliases are not followed: a few of them can make up more
// than any machine can hold.
func document(raw []byte) (*yaml.Node, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("%d bytes are too much: %d at most", len(raw), MaxSize)
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

// A reader takes a tree apart and keeps all that is wrong.
type reader struct {
	file     *File
	code     string // of what is wrong
	hint     string
	problems peers.Problems
}

func (r *reader) refuse(n *yaml.Node, at, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if n != nil {
		message = fmt.Sprintf("line %d: %s", n.Line, message)
	}
	r.problems = append(r.problems, peers.Problem{Code: r.code, At: at, Message: message, Hint: r.hint})
}

// fields hands each field of a mapping to whom it is for. Unknown, missing and repeated ones are refused.
func (r *reader) fields(n *yaml.Node, at string, fields map[string]func(*yaml.Node, string), needed ...string) {
	r.file.lines[at] = n.Line
	if n.Kind != yaml.MappingNode {
		r.refuse(n, at, "want %s", known(fields, needed))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		take := fields[name.Value]
		switch {
		case name.Kind != yaml.ScalarNode || take == nil:
			r.refuse(name, at, "there is no field %.40q here", name.Value)
		case seen[name.Value]:
			r.refuse(name, at, "%s is there twice", name.Value)
		default:
			seen[name.Value] = true
			r.file.lines[join(at, name.Value)] = value.Line
			take(value, join(at, name.Value))
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

// entries hands each entry of a mapping from names to mappings to whom it is for. An empty one may be left out.
func (r *reader) entries(n *yaml.Node, at string, take func(name string, n *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		if !empty(n) {
			r.refuse(n, at, "want names, and what is said of each")
		}
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		switch {
		case name.Kind != yaml.ScalarNode:
			r.refuse(name, at, "want a name")
		case seen[name.Value]:
			r.refuse(name, at, "%.80q is there twice", name.Value)
		default:
			seen[name.Value] = true
			take(name.Value, value)
		}
	}
}

// empty reports whether there is nothing behind a name.
func empty(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// join is a place within another one.
func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "/" + name
}
