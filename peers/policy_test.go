package peers_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/peers"
)

func selectors(text ...string) []peers.Selector {
	out := make([]peers.Selector, len(text))
	for i := range text {
		s, err := peers.ParseSelector(text[i])
		if err != nil {
			panic(err)
		}
		out[i] = s
	}
	return out
}

func allow(text ...string) []peers.Service {
	out := make([]peers.Service, len(text))
	for i := range text {
		s, err := peers.ParseService(text[i])
		if err != nil {
			panic(err)
		}
		out[i] = s
	}
	return out
}

// flow reads "from to service": lists with commas.
func flow(text string) peers.Flow {
	w := strings.Fields(text)
	list := func(i int) []string { return strings.Split(w[i], ",") }
	return peers.Flow{From: selectors(list(0)...), To: selectors(list(1)...), Allow: allow(list(2)...)}
}

// flowTest reads "from to service expect".
func flowTest(text string) peers.FlowTest {
	w := strings.Fields(text)
	return peers.FlowTest{
		From: selectors(w[0])[0], To: selectors(w[1])[0], Proto: allow(w[2])[0], Expect: peers.TestExpect(w[3]),
	}
}

func policy(flows ...string) peers.Policy {
	var p peers.Policy
	for _, f := range flows {
		p.Flows = append(p.Flows, flow(f))
	}
	return p
}

func tested(p peers.Policy, tests ...string) peers.Policy {
	for _, text := range tests {
		p.Tests = append(p.Tests, flowTest(text))
	}
	return p
}

// ordersPolicy is how the three sites may talk: the shop brings orders, accounting fetches the books.
func ordersPolicy() peers.Policy {
	return tested(policy("site:shop host:warehouse tcp/5432,icmp", "host:accounting site:warehouse tcp/8000-8100"),
		"host:shop host:warehouse tcp/5432 allow", "host:shop host:accounting tcp/5432 deny")
}

func TestParseSelector(t *testing.T) {
	for _, text := range []string{
		"*", "host:shop", "site:shop", "label:role=till", "label:role=Till_2.0", "10.90.0.0/16", "10.90.0.1", "fd00::/64", "fd00::1",
	} {
		s, err := peers.ParseSelector(text)
		if err != nil || s.String() != text {
			t.Errorf("%s came back as %v, %v", text, s, err)
		}
	}
	for _, text := range []string{
		"", "shop", "host:", "host:Shop", "host:a b", "label:role", "label:=till", "label:role=", "label:role=a b", "10.90.0.1/16",
		"10.90.0.0/33", "::ffff:10.0.0.0/104", "::ffff:10.0.0.1", "fe80::1%eth0", "**", "HOST:shop", " *",
	} {
		if s, err := peers.ParseSelector(text); err == nil {
			t.Errorf("%q was taken for %v", text, s)
		}
	}
}

func TestParseService(t *testing.T) {
	for _, text := range []string{"*", "icmp", "tcp", "udp", "tcp/5432", "udp/1-65535", "tcp/8000-8100"} {
		s, err := peers.ParseService(text)
		if err != nil || s.String() != text {
			t.Errorf("%s came back as %v, %v", text, s, err)
		}
	}
	for _, text := range []string{
		"", "sctp", "tcp/", "tcp/0", "tcp/65536", "tcp/+1", "tcp/2-1", "tcp/1-", "tcp/-1", "tcp/a", "icmp/8", "*/1", "tcp/1/2", "TCP/1",
	} {
		if s, err := peers.ParseService(text); err == nil {
			t.Errorf("%q was taken for %v", text, s)
		}
	}
}

func TestSetPolicy(t *testing.T) {
	inv := after(t, threeSites(t), peers.SetSite{
		Name: "warehouse", Prefixes: networks("10.20.0.0/24", "fd20::/64"), Gateways: []string{"warehouse"},
	})
	set := func(p peers.Policy) peers.Op { return peers.SetPolicy{Policy: p} }
	few := policy("site:shop host:warehouse,10.20.0.0/25 tcp/5432,icmp", "label:role=till site:warehouse udp/53")
	at := "policy/tests/0"
	checkRules(t, inv, []rule{
		{"orders", set(ordersPolicy()), nil},
		{"nothing at all", set(peers.Policy{}), nil},
		{"everything", set(policy("* * *")), nil},
		{"unknown host", set(policy("host:x,host:shop host:y *")), []string{
			"host-unknown policy/flows/0/from/0", "host-unknown policy/flows/0/to/0",
		}},
		{"unknown site", set(policy("* * *", "site:shop site:x *")), []string{"site-unknown policy/flows/1/to/0"}},
		{"no sides", set(peers.Policy{Flows: []peers.Flow{{}}}), []string{
			"policy-empty policy/flows/0/from", "policy-empty policy/flows/0/to", "policy-empty policy/flows/0/allow",
		}},
		{"zero parts", set(peers.Policy{Flows: []peers.Flow{
			{From: make([]peers.Selector, 1), To: make([]peers.Selector, 1), Allow: make([]peers.Service, 1)},
		}}), []string{
			"selector-invalid policy/flows/0/from/0", "selector-invalid policy/flows/0/to/0",
			"service-invalid policy/flows/0/allow/0",
		}},
		{"test holds", set(tested(few, "host:shop host:warehouse icmp allow")), nil},
		{"test of a network", set(tested(few, "host:shop 10.20.0.5 tcp/5432 allow")), nil},
		{"test of the rest of a network", set(tested(few, "host:shop 10.20.0.130 tcp/5432 deny")), nil},
		{"test of all of a network", set(tested(few, "host:shop site:warehouse tcp/5432 allow")), []string{"test-failed " + at}},
		{"denied is allowed", set(tested(few, "host:shop site:warehouse tcp/5432 deny")), []string{"test-failed " + at}},
		{"allowed is denied", set(tested(few, "host:warehouse host:shop tcp/5432 allow")), []string{"test-failed " + at}},
		{"part of the ports", set(tested(few, "host:shop host:warehouse tcp/5432-5433 allow")), []string{"test-failed " + at}},
		{"test of nobody", set(tested(few, "label:role=till host:warehouse udp/53 allow")), []string{"test-empty " + at}},
		{"tests contradict", set(tested(few, "host:shop host:warehouse icmp allow", "host:shop host:warehouse icmp deny")), []string{
			"test-contradiction policy/tests/1",
		}},
		{"test names nobody", set(tested(few, "host:x site:y icmp perhaps")), []string{
			"host-unknown policy/tests/0/from", "site-unknown policy/tests/0/to", "test-invalid policy/tests/0/expect",
		}},
		{"too much", set(peers.Policy{Flows: make([]peers.Flow, 5001)}), []string{"policy-size policy"}},
		{"too many selectors", set(peers.Policy{Flows: []peers.Flow{{From: make([]peers.Selector, 201)}}}), []string{
			"policy-size policy/flows/0",
		}},
	})
}

func TestLabelHost(t *testing.T) {
	inv := after(t, threeSites(t), peers.LabelHost{ID: idOf("shop"), Set: map[string]string{"role": "till", "floor": "1"}})
	label := func(set map[string]string, remove ...string) peers.Op {
		return peers.LabelHost{ID: idOf("shop"), Set: set, Remove: remove}
	}
	at := " host/shop/labels"
	many := map[string]string{}
	for i := range 32 {
		many[fmt.Sprintf("k%d", i)] = "v"
	}
	checkRules(t, inv, []rule{
		{"another", label(map[string]string{"a": "b"}), nil},
		{"replaced", label(map[string]string{"role": "Office_1.2"}), nil},
		{"taken away", label(nil, "role"), nil},
		{"nothing", label(nil), []string{"change-empty" + at}},
		{"unknown", label(nil, "x"), []string{"label-unknown" + at}},
		{"invalid", label(map[string]string{"Role": "a", "role": "a b", "x": ""}), []string{
			"label-invalid" + at, "label-invalid" + at, "label-invalid" + at,
		}},
		{"too many", label(many), []string{"label-invalid" + at}},
		{"nobody", peers.LabelHost{ID: "x", Set: map[string]string{"a": "b"}}, []string{"host-unknown host/x"}},
	})
}

// TestStalePolicy: who is named by a policy may go. The policy stays, is still read, and lets the others live.
func TestStalePolicy(t *testing.T) {
	inv := after(t, threeSites(t), peers.SetPolicy{Policy: ordersPolicy()}, peers.RemoveHost{ID: idOf("accounting")})
	objects := map[string]json.RawMessage{}
	for _, o := range inv.Objects() {
		objects[o.Key] = o.After
	}
	loaded, err := peers.Load(inv.Revision, inv.Head, objects)
	if err != nil {
		t.Fatal(err)
	}
	if p := planOf(t, loaded, "shop"); len(p.Peers) != 1 || p.Peers[0].Name != "warehouse" {
		t.Errorf("shop has the peers %v", p.Peers)
	}
	if w := loaded.PolicyWarnings(); !w.Has("policy-nobody") {
		t.Errorf("nothing is said of the host that is gone: %v", w)
	}
}

func TestPolicyWarnings(t *testing.T) {
	inv := after(t, threeSites(t), peers.SetPolicy{Policy: policy(
		"site:shop * tcp", "host:shop host:warehouse tcp/5432", "site:shop host:warehouse tcp/1-10", "10.90.0.0/16 * icmp",
		"10.90.1.0/24 * icmp", "label:role=till * *",
	)})
	var got []string
	for _, p := range inv.PolicyWarnings() {
		got = append(got, p.Code+" "+p.At)
	}
	want := []string{"policy-shadowed policy/flows/2", "policy-shadowed policy/flows/4", "policy-nobody policy/flows/5/from/0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("other warnings (-want +got):\n%s", diff)
	}
}

func TestFlowChanges(t *testing.T) {
	inv := after(t, threeSites(t), peers.SetSite{
		Name: "warehouse", Prefixes: networks("10.20.0.0/24"), Gateways: []string{"warehouse"},
	})
	orders := after(t, inv, peers.SetPolicy{Policy: policy("site:shop site:warehouse tcp/5432", "host:accounting host:shop *")})
	for _, c := range []struct {
		name          string
		before, after *peers.Inventory
		want          string
		cut           []string
	}{
		{"nothing", orders, orders, "", nil},
		{"the first policy", inv, orders, `
[10.20.0.0/24 warehouse] → [10.20.0.0/24 accounting shop warehouse] -*
[accounting] → [10.20.0.0/24 warehouse] -*
[shop] → [accounting] -*
[shop] → [10.20.0.0/24 warehouse] -* =tcp/5432
`, nil},
		{"a port more", orders, after(t, orders, peers.SetPolicy{Policy: policy(
			"site:shop site:warehouse tcp/5430-5433", "host:accounting host:shop *",
		)}), `
[shop] → [10.20.0.0/24 warehouse] +tcp/5430-5431 tcp/5433
`, nil},
		{"closed", orders, after(t, orders, peers.SetPolicy{Policy: policy("site:shop host:warehouse tcp/5432,icmp")}), `
[accounting] → [shop] -*
[shop] → [10.20.0.0/24] -tcp/5432
[shop] → [warehouse] +icmp
`, []string{"accounting"}},
		{"a label", after(t, inv, peers.SetPolicy{Policy: policy("label:role=till host:shop icmp")}), after(t, inv,
			peers.SetPolicy{Policy: policy("label:role=till host:shop icmp")},
			peers.LabelHost{ID: idOf("accounting"), Set: map[string]string{"role": "till"}}), `
[accounting] → [shop] +icmp
`, nil},
		{"a host goes", orders, after(t, orders, peers.SetHostState{ID: idOf("accounting"), State: peers.HostSuspended}), `
[accounting] → [shop] -*
`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := changesText(peers.FlowChanges(c.before, c.after))
			if diff := cmp.Diff(strings.TrimSpace(c.want), got); diff != "" {
				t.Errorf("other flows (-want +got):\n%s", diff)
			}
			if cut := peers.CutOff(c.before, c.after); !slices.Equal(cut, c.cut) {
				t.Errorf("cut off are %v, want %v", cut, c.cut)
			}
		})
	}
}

func changesText(rows []peers.FlowChange) string {
	var lines []string
	for _, r := range rows {
		line := fmt.Sprintf("%v → %v", r.From, r.To)
		for i, list := range [][]peers.Service{r.Opens, r.Closes, r.Keeps} {
			if len(list) > 0 {
				line += " " + "+-="[i:i+1] + strings.Trim(fmt.Sprint(list), "[]")
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// TestGuardOfTheOrders: what each host lets in, and whom it knows.
func TestGuardOfTheOrders(t *testing.T) {
	inv := after(t, threeSites(t), peers.SetSite{
		Name: "warehouse", Prefixes: networks("10.20.0.0/24"), Gateways: []string{"warehouse"},
	}, peers.SetPolicy{Policy: ordersPolicy()})
	if p := planOf(t, inv, "shop"); len(p.Peers) != 1 || len(p.Gate.Rules) != 0 || !slices.Equal(p.Gate.Remote, prefixes("10.20.0.0/24")) {
		t.Errorf("shop has peers %v and the guard %+v", p.Peers, p.Gate)
	}
	p := planOf(t, inv, "warehouse")
	f := p.Filter()
	for _, c := range []struct {
		from, to string
		protocol peers.Protocol
		port     uint16
		want     int
	}{
		{"10.90.0.1", "10.90.0.2", peers.TCP, 5432, 1},
		{"fd00:90::1", "fd00:90::2", peers.TCP, 5432, 1},
		{"10.90.0.1", "10.90.0.2", peers.ICMP, 0, 1},
		{"10.90.0.1", "10.90.0.2", peers.UDP, 5432, 0},
		{"10.90.0.1", "10.90.0.2", peers.TCP, 5433, 0},
		{"10.90.0.1", "10.20.0.9", peers.TCP, 5432, 0},
		{"10.90.0.1", "10.90.0.2", "gre", 0, 0},
		{"10.90.0.3", "10.20.0.9", peers.TCP, 8000, 2},
		{"10.90.0.3", "10.20.0.9", peers.TCP, 8100, 2},
		{"10.90.0.3", "10.90.0.2", peers.TCP, 8101, 0},
		{"10.90.0.4", "10.90.0.2", peers.TCP, 5432, 0},
	} {
		if got := f.Decide(netip.MustParseAddr(c.from), netip.MustParseAddr(c.to), c.protocol, c.port); got != c.want {
			t.Errorf("%+v is let in by %d", c, got)
		}
	}
}

func TestGuardRefusesUnknownMeaning(t *testing.T) {
	for _, g := range []*peers.Gate{
		{Version: 2},
		{Version: 1, Rules: []peers.GateRule{{}}},
		{Version: 1, Remote: prefixes("0.0.0.0/0")},
		{Version: 1, Remote: make([]netip.Prefix, 1)},
		{Version: 1, Rules: []peers.GateRule{{Flow: 1, To: make([]netip.Prefix, 1)}}},
	} {
		if g.Check() == nil {
			t.Errorf("%+v is let through", g)
		}
	}
	for _, raw := range []string{
		`{"version":1,"rules":[{"flow":1,"from":["user:anna"],"to":[],"allow":[]}]}`,
		`{"version":1,"rules":[{"flow":1,"from":["*"],"to":[],"allow":["quic/443"]}]}`,
	} {
		var g peers.Gate
		if err := json.Unmarshal([]byte(raw), &g); err == nil {
			t.Errorf("%s was taken for %+v", raw, g)
		}
	}
	var none *peers.Gate
	if err := errors.Join(none.Check(), (&peers.Gate{Version: 1}).Check()); err != nil {
		t.Error(err)
	}
}
