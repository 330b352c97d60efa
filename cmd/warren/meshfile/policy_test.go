package meshfile_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/cmd/warren/meshfile"
	"github.com/warren-mesh/warren/peers"
)

const orders = `# Who may talk to whom.
flows:
  - from: site:shop
    to: host:warehouse
    allow: [tcp/5432, icmp]
  - from: [host:accounting, "label:role=books"]
    to: 10.20.0.0/24
    allow: "*"

tests:
  - {from: host:shop, to: host:warehouse, proto: tcp/5432, expect: allow}
`

func TestParse(t *testing.T) {
	f, err := meshfile.ParsePolicy([]byte(orders))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for i := range f.Policy.Flows {
		fmt.Fprintln(&got, f.Policy.Flows[i].String())
	}
	for i := range f.Policy.Tests {
		fmt.Fprintln(&got, f.Policy.Tests[i].String())
	}
	want := `site:shop → host:warehouse [tcp/5432 icmp]
[host:accounting label:role=books] → 10.20.0.0/24 *
host:shop → host:warehouse tcp/5432 allow
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("another policy (-want +got):\n%s", diff)
	}
	for at, line := range map[string]int{
		"policy": 2, "policy/flows/0": 3, "policy/flows/0/to/0": 4, "policy/flows/0/allow/1": 5, "policy/flows/1/from/1": 6,
		"policy/tests/0": 11, "policy/tests/0/expect": 11, "policy/flows/7": 3, "elsewhere": 0,
	} {
		if got := f.Line(at); got != line {
			t.Errorf("%s stands in line %d, want %d", at, got, line)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "policy: there is nothing in it",
		"flows: [":                  "policy: ",
		"[]":                        "policy: line 1: want flows",
		"flows: []\n---\nflows: []": "policy: there is more than one document in it",
		"tests: []":                 "policy: line 1: flows is missing",
		"flows: 1":                  "policy/flows: line 1: want a list",
		"flows: []\nrules: []":      `policy: line 2: there is no field "rules" here`,
		"flows: []\nflows: []":      "policy: line 2: flows is there twice",
		"flows:\n- from: '*'":       "policy/flows/0: line 2: to is missing\npolicy/flows/0: line 2: allow is missing",
		"flows:\n- {from: Shop, to: 'host:a b', allow: [ssh, 'tcp/0']}": `policy/flows/0/from/0: line 2: "Shop" selects nothing
policy/flows/0/to/0: line 2: "host:a b" names no host
policy/flows/0/allow/0: line 2: "ssh" is no service
policy/flows/0/allow/1: line 2: "tcp/0": "0" is no port`,
		"flows:\n- {from: [], to: {}, allow: [[]]}": `policy/flows/0/from: line 2: there is nothing in the list
policy/flows/0/to/0: line 2: want one word
policy/flows/0/allow/0: line 2: want one word`,
		"flows: []\ntests:\n- {from: '*', to: '*', proto: icmp, expect: maybe}": `policy/tests/0/expect: line 3: "maybe" is nothing to expect`,
		"a: &a [x,x]\nflows: *a":                `policy: line 1: there is no field "a" here` + "\npolicy/flows: line 2: want a list",
		strings.Repeat("#", meshfile.MaxSize+1): "policy: 1048577 bytes are too much",
	} {
		_, err := meshfile.ParsePolicy([]byte(text))
		var ps peers.Problems
		if !errors.As(err, &ps) {
			t.Errorf("%.60q: %v", text, err)
			continue
		}
		lines := strings.Split(want, "\n")
		for i, p := range ps {
			if i >= len(lines) || !strings.HasPrefix(p.At+": "+p.Message, lines[i]) {
				t.Errorf("%.60q: problem %d is %s: %s", text, i, p.At, p.Message)
			}
		}
		if len(ps) < len(lines) {
			t.Errorf("%.60q: %d problems, want %d", text, len(ps), len(lines))
		}
	}
}

// TestExample holds the example that is shipped.
func TestExample(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if f, err := meshfile.ParsePolicy(raw); err != nil || len(f.Policy.Flows) < 3 || len(f.Policy.Tests) < 2 {
		t.Errorf("%+v, %v", f, err)
	}
}

// FuzzParse: whatever is in a file, reading it ends, and what was read says the same again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(orders))
	f.Add([]byte("a: &a [x]\nb: &b [*a,*a]\nflows: *b"))
	f.Add([]byte("flows: [{from: !!binary eA==, to: ~, allow: 1}]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := meshfile.ParsePolicy(raw)
		if err != nil {
			var ps peers.Problems
			if !errors.As(err, &ps) || len(ps) == 0 {
				t.Fatalf("%v is no Problems", err)
			}
			return
		}
		for _, flow := range file.Policy.Flows {
			for _, s := range append(flow.From, flow.To...) {
				if again, err := peers.ParseSelector(s.String()); err != nil || again != s {
					t.Fatalf("%v comes back as %v, %v", s, again, err)
				}
			}
			for _, s := range flow.Allow {
				if again, err := peers.ParseService(s.String()); err != nil || again != s {
					t.Fatalf("%v comes back as %v, %v", s, again, err)
				}
			}
		}
	})
}
