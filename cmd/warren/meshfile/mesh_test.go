package meshfile_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/cmd/warren/meshfile"
	"github.com/warren-mesh/warren/peers"
)

const mesh = `settings: {mtu: 1380, keepalive: 20, grace: 7d}
schedule:
  every: 30d
  windows: ["Sun 02:00-04:00 Europe/Berlin"]
sites:
  shop:
  warehouse:
    prefixes: [10.20.0.0/24, "fd20::/64"]
    gateways: wh-gw1
    virtual_ip6: fd20::1
    lan_check: [10.20.0.9, "fd20::9"]
hosts:
  till-3: {labels: {role: till, floor: 1}}
  wh-gw1: {}
policy:
  flows:
    - {from: site:shop, to: host:wh-gw1, allow: tcp/5432}
`

const written = `settings:
  mtu: 1380
  keepalive: 20
  grace: 7d
schedule:
  every: 30d
  windows: "Sun 02:00-04:00 Europe/Berlin"
sites:
  shop: {}
  warehouse:
    prefixes: [10.20.0.0/24, fd20::/64]
    gateways: [wh-gw1]
    virtual_ip6: fd20::1
    lan_check: [10.20.0.9, fd20::9]
hosts:
  till-3:
    labels: {floor: "1", role: till}
  wh-gw1: {}
policy:
  flows:
    - from: site:shop
      to: host:wh-gw1
      allow: tcp/5432
`

func TestParseMesh(t *testing.T) {
	f, err := meshfile.Parse([]byte(mesh))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(written, string(meshfile.Write(&f.Declared))); diff != "" {
		t.Errorf("written again (-want +got):\n%s", diff)
	}
	for at, line := range map[string]int{
		"mesh/mtu": 1, "mesh/schedule/windows/0": 4, "site/shop": 6, "site/warehouse/prefixes/1": 8, "site/warehouse/gateways/0": 9,
		"site/warehouse/lan_check/1": 11, "host/till-3/labels": 13, "policy/flows/0/to/0": 17, "elsewhere": 0,
	} {
		if got := f.Line(at); got != line {
			t.Errorf("%s stands in line %d, want %d", at, got, line)
		}
	}
}

func TestParseMeshRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                             ": there is nothing in it",
		"[]":                           ": line 1: want one or more of settings",
		"{}":                           ": line 1: want one or more of settings",
		"flows: []":                    `: line 1: there is no field "flows" here`,
		"settings: {mtu: big}":         `mesh/mtu: line 1: "big": want a whole number`,
		"settings: {grace: 7}":         `mesh/grace: line 1: "7": want a number with w`,
		"settings: 7":                  `mesh: line 1: want grace, keepalive, mtu`,
		"schedule: off":                `mesh/schedule: line 1: want every`,
		"schedule: {windows: x}":       "mesh/schedule/windows/0: line 1: window \"x\"\nmesh/schedule: line 1: every is missing",
		"sites: [shop]":                "sites: line 1: want names",
		"sites: {a: {}, a: {}}":        `sites: line 1: "a" is there twice`,
		"sites: {[]: {}}":              `sites: line 1: want a name`,
		"sites: {a: {prefix: x}}":      `site/a: line 1: there is no field "prefix" here`,
		"sites: {a: {name: b}}":        `site/a: line 1: there is no field "name" here`,
		"sites: {a: {prefixes: [[]]}}": `site/a/prefixes/0: line 1: want one word`,
		"sites: {a: {prefixes: 10.0}}": `site/a/prefixes/0: line 1: `,
		"hosts: {a: {state: active}}":  `host/a: line 1: there is no field "state" here`,
		"hosts: {a: {labels: [x]}}":    `host/a/labels: line 1: want names`,
		"policy: {flows: [x]}":         `policy/flows/0: line 1: want from, to, allow`,
		"sites: {}\nsites: {}":         `: line 2: sites is there twice`,
		"x: &x {a: {}}\nsites: *x":     `: line 1: there is no field "x" here` + "\nsites: line 2: want names",
		"sites: {<<: {a: {}}, b: {}}":  `site/<<: line 1: there is no field "a" here`,
		bomb():                         `: line 1: there is no field "a0" here`,
		strings.Repeat("[", 100000):    ": ",
		strings.Repeat("#", 10<<20):    ": 10485760 bytes are too much: 1048576 at most",
	} {
		_, err := meshfile.Parse([]byte(text))
		var ps peers.Problems
		if !errors.As(err, &ps) {
			t.Errorf("%.60q: %v", text, err)
			continue
		}
		for i, line := range strings.Split(want, "\n") {
			if i >= len(ps) || !strings.HasPrefix(ps[i].At+": "+ps[i].Message, line) {
				t.Errorf("%.60q: %v, want %s", text, err, line)
			}
		}
	}
}

// bomb would be 10^9 words if aliases were followed.
func bomb() string {
	var b strings.Builder
	fmt.Fprintln(&b, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	return b.String() + "sites: *a8\n"
}

// TestMeshExample holds the example that is shipped: it says something of every section, and it is written as warren
// export would.
func TestMeshExample(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "mesh.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := meshfile.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	d := f.Declared
	if d.Settings == nil || d.Schedule == nil || len(d.Sites) < 3 || len(d.Hosts) < 3 || d.Policy == nil || len(d.Policy.Tests) == 0 {
		t.Errorf("a section is missing: %+v", d)
	}
	again, err := meshfile.Parse(meshfile.Write(&d))
	if err != nil || asJSON(t, again.Declared) != asJSON(t, d) {
		t.Errorf("written and read again: %v\n%s", err, meshfile.Write(&d))
	}
}

func asJSON(t interface{ Fatal(...any) }, v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestWriteReads: whatever is declared, the file says exactly that, and the same bytes each time.
func TestWriteReads(t *testing.T) {
	name := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?`)
	value := rapid.StringMatching(`[A-Za-z0-9_.-]{1,8}`)
	rapid.Check(t, func(t *rapid.T) {
		var d peers.Declared
		if rapid.Bool().Draw(t, "settings") {
			mtu, grace := rapid.Int().Draw(t, "mtu"), rapid.IntRange(0, 1<<30).Draw(t, "grace")
			d.Settings = &peers.SetMesh{MTU: &mtu, Grace: &grace}
		}
		switch rapid.IntRange(0, 2).Draw(t, "schedule") {
		case 1:
			d.Schedule = &peers.Rotations{}
		case 2:
			d.Schedule = &peers.Rotations{Schedule: &peers.Schedule{Every: rapid.Int64Range(1, 1<<30).Draw(t, "every"), CatchUp: true}}
		}
		if rapid.Bool().Draw(t, "sites") {
			d.Sites = []peers.SetSite{}
			for _, n := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID).Draw(t, "names") {
				s := peers.SetSite{Name: n, Gateways: rapid.SliceOfN(name, 0, 2).Draw(t, "gateways")}
				if rapid.Bool().Draw(t, "prefixes") {
					if err := json.Unmarshal([]byte(`["10.20.0.0/24","fd00::/64"]`), &s.Prefixes); err != nil {
						t.Fatal(err)
					}
				}
				d.Sites = append(d.Sites, s)
			}
		}
		if rapid.Bool().Draw(t, "hosts") {
			d.Hosts = []peers.DeclaredHost{}
			for _, n := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID).Draw(t, "names") {
				h := peers.DeclaredHost{Name: n}
				if l := rapid.MapOfN(name, value, 0, 2).Draw(t, "labels"); len(l) > 0 {
					h.Labels = l
				}
				d.Hosts = append(d.Hosts, h)
			}
		}
		raw := meshfile.Write(&d)
		if len(raw) == 0 {
			return
		}
		f, err := meshfile.Parse(raw)
		if err != nil || asJSON(t, f.Declared) != asJSON(t, d) {
			t.Fatalf("%v: %s\nfrom\n%s\nwant %s", err, asJSON(t, f), raw, asJSON(t, d))
		}
		if !bytes.Equal(raw, meshfile.Write(&f.Declared)) {
			t.Fatal("it is written otherwise the second time")
		}
	})
}

// FuzzParseMesh: whatever is in a file, reading it ends, and what was read can be written and says the same again.
func FuzzParseMesh(f *testing.F) {
	f.Add([]byte(mesh))
	f.Add([]byte(written))
	f.Add([]byte(bomb()))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := meshfile.Parse(raw)
		if err != nil {
			var ps peers.Problems
			if !errors.As(err, &ps) || len(ps) == 0 {
				t.Fatalf("%v is no Problems", err)
			}
			return
		}
		again, err := meshfile.Parse(meshfile.Write(&file.Declared))
		if err != nil || asJSON(t, again.Declared) != asJSON(t, file.Declared) {
			t.Fatalf("%v\n%s", err, meshfile.Write(&file.Declared))
		}
	})
}
