package e2e

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// tillPolicy lets tills write orders, and accounting do everything in the warehouse.
const tillPolicy = `flows:
  - {from: "label:role=till", to: host:warehouse, allow: [tcp/5432, icmp]}
  - {from: host:accounting, to: site:warehouse, allow: "*"}
tests:
  - {from: host:accounting, to: host:warehouse, proto: tcp/8443, expect: allow}
`

// tell puts in lines what a change means to hosts.
func tell(c *wire.Consequences) string {
	var b strings.Builder
	for _, f := range c.Flows {
		fmt.Fprintf(&b, "%v → %v opens %v closes %v keeps %v\n", f.From, f.To, f.Opens, f.Closes, f.Keeps)
	}
	fmt.Fprintf(&b, "concerns %v\ncuts off %v\n", c.Hosts, c.CutOff)
	for _, w := range c.Warnings {
		fmt.Fprintf(&b, "%s at %s\n", w.Code, w.At)
	}
	return b.String()
}

// told holds what a command tells, which changes nothing, against what it should tell.
func (m *mesh) told(into any, c *wire.Consequences, want string, args ...string) {
	m.t.Helper()
	revision := m.revision()
	m.list(into, args...)
	if diff := cmp.Diff(want, tell(c)); diff != "" {
		m.t.Errorf("warren %v tells something else (-want +got):\n%s", args, diff)
	}
	if out := m.must(lab.DefaultController, args...); !strings.Contains(out, "Nothing was changed") {
		m.t.Errorf("warren %v says\n%s", args, out)
	}
	if now := m.revision(); now != revision {
		m.t.Errorf("warren %v went from revision %d to %d", args, revision, now)
	}
}

// TestChangesAreTold: whatever opens or closes flows tells beforehand which, whom that concerns and who is left alone, and
// changes nothing then. What is to be confirmed and is not, is taken back.
func TestChangesAreTold(t *testing.T) {
	m := startMesh(t, sites()...)
	m.allUp(2)
	policy := m.file("policy.yaml", tillPolicy)
	whole := m.file("mesh.yaml", "policy:\n  "+strings.ReplaceAll(strings.TrimSpace(tillPolicy), "\n", "\n  ")+"\n")
	const first = `[accounting] → [shop] opens [] closes [*] keeps []
[shop] → [accounting warehouse] opens [] closes [*] keeps []
[warehouse] → [accounting shop] opens [] closes [*] keeps []
concerns [accounting shop warehouse]
cuts off [shop]
policy-nobody at policy/flows/0/from/0
`
	var p wire.PolicyResult
	m.told(&p, &p.Consequences, first, "policy", "check", policy)
	m.told(&p, &p.Consequences, first, "policy", "apply", policy, "--dry-run")
	var d wire.DeclaredResult
	m.told(&d, &d.Consequences, first, "apply", "-f", whole, "--dry-run")
	m.applied(m.policy(tillPolicy).Revision)
	until(t, patience, "the shop is alone", func() bool { return len(m.status("shop").Peers) == 0 })

	var h wire.HostResult
	m.told(&h, &h.Consequences, `[shop] → [warehouse] opens [tcp/5432 icmp] closes [] keeps []
concerns [shop warehouse]
cuts off []
`, "host", "label", "shop", "role=till", "--dry-run")
	var s wire.SiteResult
	m.list(&s, "site", "set", "warehouse", "--prefix", "10.20.0.0/24", "--gateway", "warehouse", "--dry-run")
	if got := fmt.Sprint(s.Applied, s.Hosts, s.Flows); got != "false [accounting] [{[accounting] [10.20.0.0/24] [*] [] []}]" {
		t.Errorf("of a network more it tells %s", got)
	}
	m.triedLabel(t)
	m.badPolicies(t)
	m.oddPolicy(t)
}

// oddPolicy has flows that say nothing new: it is warned of each, with its line.
func (m *mesh) oddPolicy(t *testing.T) {
	t.Helper()
	flows, _, _ := strings.Cut(tillPolicy, "tests:")
	odd := m.file("odd.yaml", flows+"  - {from: host:accounting, to: site:warehouse, allow: tcp/22}\n"+
		"  - {from: host:accounting, to: site:warehouse, allow: \"*\"}\n")
	out := m.must(lab.DefaultController, "policy", "check", odd)
	for _, says := range []string{
		"policy-shadowed  " + odd + ": line 4: flow 3 allows nothing that flow 2 does not",
		"policy-shadowed  " + odd + ": line 5: flow 4 allows nothing that flow 2 does not", "policy-nobody  " + odd + ": line 2",
	} {
		if !strings.Contains(out, says) {
			t.Errorf("nothing is said of %q:\n%s", says, out)
		}
	}
}

// triedLabel gives a host a label that nobody confirms: it is let in, and out again.
func (m *mesh) triedLabel(t *testing.T) {
	t.Helper()
	admin := lab.DefaultController
	if out := m.must(admin, "host", "label", "shop", "role=till", "--confirm-within", "10s"); !strings.Contains(out, "warren apply --confirm") {
		t.Errorf("nothing is said of confirming:\n%s", out)
	}
	until(t, patience, "the shop gets in", func() bool { return m.up("shop") == 1 })
	if f := m.fails(admin, "host", "label", "shop", "role=office"); f.Code != "pending" {
		t.Errorf("somebody else's label: %+v", f)
	}
	until(t, patience, "it is taken back", func() bool { return m.pending() == nil })
	if labels := m.hosts()["shop"].Labels; len(labels) != 0 {
		t.Errorf("the shop has the labels %v", labels)
	}
	until(t, patience, "the shop is alone again", func() bool { return len(m.status("shop").Peers) == 0 })
}

// badPolicies: none of them changes anything, and each is refused with a word about what is wrong, and where.
func (m *mesh) badPolicies(t *testing.T) {
	t.Helper()
	revision := m.revision()
	flow := func(from, to, allow string) string {
		return fmt.Sprintf("flows:\n  - {from: %q, to: %q, allow: %q}\n", from, to, allow)
	}
	test := func(expect string) string {
		return "  - {from: host:shop, to: host:warehouse, proto: icmp, expect: " + expect + "}\n"
	}
	for name, c := range map[string]struct{ text, says string }{
		"unknown host":     {flow("host:attic", "*", "*"), `line 2: there is no host "attic"`},
		"unknown site":     {flow("*", "site:attic", "*"), `line 2: there is no site "attic"`},
		"no selector":      {flow("attic", "*", "*"), `line 2: "attic" selects nothing`},
		"no network":       {flow("10.20.0.1/24", "*", "*"), "line 2: 10.20.0.1/24 is no network"},
		"no service":       {flow("*", "*", "tcp/70000"), `line 2: "tcp/70000"`},
		"a test that does": {flow("*", "*", "*") + "tests:\n" + test("deny"), "line 4: "},
		"contradiction":    {flow("*", "*", "*") + "tests:\n" + test("allow") + test("deny"), "line 5: test 1 expects the opposite"},
		"large":            {strings.Repeat("# ten megabytes\n", 10<<20/16), "1048576 at most"},
		"bomb":             {bomb() + "flows: *j\n", "there is no field"},
		"bomb of flows":    {"flows: &a [&b [*a, *a], *a]\n", ""},
		"deep":             {"flows: " + strings.Repeat("[", 500_000), ""},
	} {
		for _, args := range [][]string{{"policy", "check"}, {"policy", "apply"}} {
			_, diag, code := m.run(lab.DefaultController, append(args, m.file("bad.yaml", c.text))...)
			if code != 1 || !strings.Contains(diag, c.says) || len(diag) > 5000 {
				t.Errorf("%v, %s: exit code %d, %.600s", args, name, code, diag)
			}
		}
	}
	if now := m.revision(); now != revision {
		t.Errorf("something of a bad policy was applied: revision %d, was %d", now, revision)
	}
}

// TestPolicyOutlivesItsHosts: tests of a policy are looked at when it is written and never afterwards. Where one would fail, as
// the host that it names is gone, controller and agents start with it all the same, and enforce it.
func TestPolicyOutlivesItsHosts(t *testing.T) {
	m := startMesh(t, sites()...)
	m.allUp(2)
	at := m.status("warehouse").Address
	orders, books := netip.AddrPortFrom(at, 5432), netip.AddrPortFrom(at, 8443)
	listen(t, m.lab.Host("warehouse"), orders)
	listen(t, m.lab.Host("warehouse"), books)
	policy := "flows:\n  - {from: host:shop, to: host:warehouse, allow: tcp/5432}\n  - {from: host:accounting, to: host:warehouse, allow: tcp/8443}\n" +
		"tests:\n  - {from: host:accounting, to: host:warehouse, proto: tcp/8443, expect: allow}\n"
	m.applied(m.policy(policy).Revision)
	m.must(lab.DefaultController, "host", "rm", "accounting", "--yes")
	if f := m.fails(lab.DefaultController, "policy", "check", m.file("policy.yaml", policy)); f.Code != "host-unknown" {
		t.Errorf("written again it is %+v: this test sees nothing", f)
	}
	if err := m.Controller().Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"shop", "warehouse"} {
		m.restart(host)
	}
	m.gets(orders, "shop")
	m.getsNot(books, "shop")
	if out := m.must(lab.DefaultController, "policy", "show"); !strings.Contains(out, "policy-nobody") || !strings.Contains(out, "tcp/8443") {
		t.Errorf("of a policy with a host that is gone it says\n%s", out)
	}
}

// TestGraphOfTheMesh draws the mesh in each way: links are there between hosts that have a flow, in the state that the hosts
// say they are in.
func TestGraphOfTheMesh(t *testing.T) {
	m := startMesh(t, sites()...)
	m.allUp(2)
	m.applied(m.policy(`flows: [{from: ["host:shop", "host:accounting"], to: host:warehouse, allow: icmp}]`).Revision)
	links := func() (out string) {
		var g wire.Graph
		m.list(&g, "graph")
		for _, l := range g.Links {
			out += fmt.Sprintf("%s-%s %s ", l.A, l.B, l.State)
		}
		return out
	}
	shows := func(want string) {
		t.Helper()
		was := ""
		until(t, patience, "the graph shows "+want, func() bool {
			if now := links(); now != was {
				was = now
				t.Logf("the graph shows %s", now)
			}
			return was == want
		})
	}
	draws := func(format, pattern string) string {
		t.Helper()
		out := m.must(lab.DefaultController, "graph", "--format", format)
		if !regexp.MustCompile(pattern).MatchString(out) {
			t.Errorf("there is no %q in the %s\n%s", pattern, format, out)
		}
		return out
	}
	shows("accounting-warehouse up shop-warehouse up ")
	m.killAgent("shop")
	for _, host := range []string{"shop", "warehouse"} { // nobody puts back that of the shop
		if err := m.lab.Host(host).DeleteLink(m.status("warehouse").Interfaces[0].Name); err != nil {
			t.Fatal(err)
		}
	}
	shows("accounting-warehouse up shop-warehouse down ")
	draws("dot", `(?m)^\s*"host/shop" -- "host/warehouse" \[label="down"`)
	draws("mermaid", `(?m)^graph LR$`)
	d := xml.NewDecoder(strings.NewReader(draws("svg", "^<svg ")))
	text := ""
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if chars, ok := token.(xml.CharData); ok {
			text += string(chars) + "\n"
		}
	}
	for _, name := range sites() {
		if !strings.Contains(text, name) {
			t.Errorf("%s is not in the picture:\n%s", name, text)
		}
	}
	m.agentAgain()
	shows("accounting-warehouse up shop-warehouse up ")
	// What a host lets in, has seen and has dropped, for whoever looks at it there.
	if m.connects("shop", netip.AddrPortFrom(m.status("warehouse").Address, 22)) {
		t.Error("what the policy does not allow passes")
	}
	if out := m.must("warehouse", "flows"); !regexp.MustCompile(`(?m)^1 +host:shop host:accounting +10\.90\.0\.2/32 .* +icmp +\d`).
		MatchString(out) || !regexp.MustCompile(`(?m)^`+peers.CounterRefused+` +[1-9]`).MatchString(out) {
		t.Errorf("warren flows says\n%s", out)
	}
}
