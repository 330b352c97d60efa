package drawing_test

import (
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/cmd/warren/drawing"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

var update = flag.Bool("update", false, "write the golden files")

func host(name string, edit ...func(*wire.GraphHost)) wire.GraphHost {
	h := wire.GraphHost{Name: name, State: peers.HostActive, Online: true}
	for _, f := range edit {
		f(&h)
	}
	return h
}

func gateway(n int) func(*wire.GraphHost) { return func(h *wire.GraphHost) { h.Gateway = n } }
func away(h *wire.GraphHost)              { h.Online = false }

// orders is the mesh of the orders, with a link of each state.
func orders() *wire.Graph {
	return &wire.Graph{
		Mesh: "orders", Revision: 42, Between: "hosts",
		Sites: []wire.GraphSite{
			{Name: "accounting", Hosts: []wire.GraphHost{host("books", away), host("old", func(h *wire.GraphHost) { h.State = peers.HostSuspended })}},
			{Name: "shop", Hosts: []wire.GraphHost{host("shop", func(h *wire.GraphHost) { h.Problems = 2 })}},
			{Name: "warehouse", Prefixes: []string{"10.20.0.0/24", "192.168.1.0/24 as 10.61.1.0/24"}, Hosts: []wire.GraphHost{
				host("wh-gw1", gateway(1)), host("wh-gw2", gateway(2)),
			}},
		},
		Links: []wire.GraphLink{
			{A: "books", B: "wh-gw1", State: wire.LinkUnknown, Pairs: 1},
			{A: "shop", B: "wh-gw1", State: wire.LinkUp, Up: 1, Pairs: 1},
			{A: "shop", B: "wh-gw2", State: wire.LinkPartial, Pairs: 1},
			{A: "wh-gw1", B: "wh-gw2", State: wire.LinkDown, Pairs: 1},
		},
	}
}

// large has links between sites.
func large() *wire.Graph {
	g := &wire.Graph{Mesh: "orders", Revision: 7, Between: "sites", Links: []wire.GraphLink{
		{A: "s0", B: "s0", State: wire.LinkUp, Up: 3, Pairs: 3}, {A: "s0", B: "s3", State: wire.LinkPartial, Up: 2, Pairs: 9},
	}}
	for i := range 5 {
		s := wire.GraphSite{Name: fmt.Sprintf("s%d", i)}
		for j := range 3 {
			s.Hosts = append(s.Hosts, host(fmt.Sprintf("h%d-%d", i, j)))
		}
		g.Sites = append(g.Sites, s)
	}
	return g
}

// hostile has names that no mesh lets in.
func hostile() *wire.Graph {
	bad := "\"<script>alert(1)</script>&\\\n];--"
	return &wire.Graph{
		Mesh: bad, Between: "hosts", Sites: []wire.GraphSite{{Name: bad, Prefixes: []string{bad}, Hosts: []wire.GraphHost{host(bad)}}},
		Links: []wire.GraphLink{{A: bad, B: bad, State: wire.LinkUp}},
	}
}

// TestGolden holds the drawings. Look at the pictures after running it with -update.
func TestGolden(t *testing.T) {
	for name, g := range map[string]*wire.Graph{"orders": orders(), "large": large(), "hostile": hostile(), "empty": {Mesh: "new"}} {
		for ending, draw := range map[string]func(*wire.Graph) string{
			"svg": drawing.SVG, "dot": drawing.DOT, "mmd": drawing.Mermaid,
		} {
			path := filepath.Join("testdata", name+"."+ending)
			got := draw(g)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", path, diff)
			}
			if ending == "svg" {
				wellFormed(t, name, got)
			}
			if ending != "dot" && strings.Contains(got, "<script") {
				t.Errorf("%s has a script in it", path)
			}
		}
	}
}

// wellFormed reads the picture as XML.
func wellFormed(t *testing.T, name, svg string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}
