package linux

import (
	"encoding/json"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// nft runs commands of nft(8) in the present network.
func nft(t testing.TB, commands ...string) string {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("nft is not installed; try: apt-get install nftables")
	}
	out, err := exec.CommandContext(t.Context(), "nft", "-a", strings.Join(commands, "; ")).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %q: %v\n%s", commands, err, out)
	}
	return string(out)
}

// addTable makes a table without rules.
func addTable(name string) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	conn.AddTable(&nftables.Table{Name: name, Family: nftables.TableFamilyINet})
	return conn.Flush()
}

// flushRules does what `nft flush ruleset` does.
func flushRules(t testing.TB) {
	t.Helper()
	conn, err := nftables.New()
	if err == nil {
		conn.FlushRuleset()
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestGuardText reads the table back with the system's own tool: it says what Guard.String says.
func TestGuardText(t *testing.T) {
	k := newKernel(t)
	open, decided := planFor(2), policed(t)
	for name, guard := range map[string]peers.Guard{
		"only a clamp":                  {Clamp: true, Knocks: [2]uint16{51820, 51821}},
		"no policy":                     open.CompileGuard(peers.GuardOptions{}),
		"a policy":                      decided.CompileGuard(peers.GuardOptions{Connected: prefixes("10.30.7.0/24", "10.90.128.0/17")}),
		"no leak guard":                 decided.CompileGuard(peers.GuardOptions{NoLeak: true}),
		"a gateway that translates":     translating().CompileGuard(peers.GuardOptions{}),
		"nothing at all, no leak guard": open.CompileGuard(peers.GuardOptions{NoLeak: true}),
	} {
		subject{kernel: k}.apply(t, peers.SetGuard{Guard: guard})
		if diff := cmp.Diff(nftText(guard.String()), nftText(nft(t, "list table inet warren"))); diff != "" {
			t.Errorf("%s: want - and the kernel has +\n%s", name, diff)
		}
		// Who saves all rules of the host and loads them at boot gets ours as well, and must be able to load his own.
		saved := nft(t, "list table inet warren")
		nft(t, "delete table inet warren")
		nft(t, saved)
	}
}

// translating is the plan of a gateway of networks with aliases, and of LANs without a way back.
func translating() *peers.Plan {
	alias := func(p, as string, snat bool) peers.SitePrefix {
		return peers.SitePrefix{Prefix: netip.MustParsePrefix(p), As: netip.MustParsePrefix(as), SNAT: snat}
	}
	snat := lanOf("10.21.0.0/24")
	snat.SNAT = true
	p := gatewayOf(lanOf("10.20.0.0/24"), snat, alias("192.168.1.0/24", "10.61.1.0/24", true), alias("fd01::/64", "fd61::/64", false))
	return &p
}

// nftText is what nft(8) prints of a table without handles, marks, counts and line breaks. What is in the table is in the
// order of its names: the kernel has it in that in which it was made.
func nftText(printed string) string {
	var words []string
	for line := range strings.Lines(printed) {
		text, _, _ := strings.Cut(line, " comment ")
		text, _, _ = strings.Cut(text, " # handle")
		words = append(words, strings.Fields(text)...)
	}
	text := regexp.MustCompile(` \{ packets \d+ bytes \d+ \}`).ReplaceAllString(strings.Join(words, " "), "")
	text = regexp.MustCompile(` (counter|set|map|chain) (\S+) \{`).ReplaceAllString(text, "\n$1 $2 {")
	text = regexp.MustCompile(` (counter [a-z][\w-]*)`).ReplaceAllString(text, "\n$1")
	blocks := strings.Split(strings.TrimSuffix(text, " }"), "\n")
	slices.Sort(blocks[1:])
	return regexp.MustCompile(` (iifname|oifname|ct|ip|ip6|udp|meta|goto) `).ReplaceAllString(strings.Join(blocks, "\n"), "\n$1 ")
}

// TestGuardKeepsHooks replaces one guard by another: the chains at hooks stay what they were, as one that is deleted goes on
// with its rules without their sets, and so do the counters that both have.
func TestGuardKeepsHooks(t *testing.T) {
	k := newKernel(t)
	decided := policed(t)
	before := decided.CompileGuard(peers.GuardOptions{})
	decided.Gate.Rules = decided.Gate.Rules[1:]
	after := decided.CompileGuard(peers.GuardOptions{})
	hooked := func() []string {
		var out []string
		for line := range strings.Lines(nft(t, "list table inet warren")) {
			if name, handle, ok := strings.Cut(line, "{ # handle "); ok {
				out = append(out, strings.TrimSpace(name)+" "+strings.TrimSpace(handle))
			}
		}
		return slices.DeleteFunc(out, func(c string) bool {
			return !slices.ContainsFunc([]string{"table", "chain clamp", "chain leave", "chain arrive"}, func(n string) bool {
				return strings.HasPrefix(c, n+" ")
			})
		})
	}
	subject{kernel: k}.apply(t, peers.SetGuard{Guard: before})
	were := hooked()
	if len(were) != 4 {
		t.Fatalf("the table and its chains at hooks are %v", were)
	}
	subject{kernel: k}.apply(t, peers.SetGuard{Guard: after})
	if diff := cmp.Diff(were, hooked()); diff != "" {
		t.Errorf("before - and after +\n%s", diff)
	}
	next, err := New(Options{Backend: None, Guard: &after})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Close() }()
	for _, g := range []peers.Guard{before, after} {
		subject{kernel: next}.apply(t, peers.SetGuard{Guard: g})
	}
	if diff := cmp.Diff(were, hooked()); diff != "" {
		t.Errorf("before - and after the next process +\n%s", diff)
	}
	if diff := cmp.Diff(nftText(after.String()), nftText(nft(t, "list table inet warren"))); diff != "" {
		t.Errorf("want - and the kernel has +\n%s", diff)
	}
	if state, err := k.Observe(t.Context()); err != nil || state.Guard.Digest != after.Digest() {
		t.Errorf("the table reads as %+v, %v", state.Guard, err)
	}
}

// policed is the plan of a host that lets things in by a policy: a gateway of a network.
func policed(t testing.TB) peers.Plan {
	t.Helper()
	p := planFor(3)
	p.Peers[0].Labels = map[string]string{"role": "till"}
	p.Peers[1].Site = "office"
	p.Peers[1].Prefixes = append(p.Peers[1].Prefixes, prefixes("10.30.0.0/16")...)
	err := json.Unmarshal([]byte(`{"version":1,"policy":true,"remote":["10.30.0.0/16"],"rules":[
		{"flow":1,"from":["label:role=till"],"to":["10.90.0.1/32","fd00:90::1/128"],"allow":["tcp/5432","tcp/8000-8100","icmp"]},
		{"flow":2,"from":["site:office"],"to":["10.90.0.1/32","10.20.0.0/24"],"allow":["udp/53","tcp/8050-9000"]},
		{"flow":4,"from":["host:host2","10.30.7.0/24"],"to":["10.20.0.128/25"],"allow":["*"]},
		{"flow":7,"from":["*"],"to":["10.90.0.1/32"],"allow":["udp"]}]}`), &p.Gate)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestGuardDamaged changes the table as others might: each change is noticed and healed by one step, and
// what they have of their own stays as it is.
func TestGuardDamaged(t *testing.T) {
	k := newKernel(t)
	s := subject{kernel: k}
	plan := planFor(1)
	nft(t, "add table inet office", "add chain inet office in { type filter hook input priority 0; policy accept; }",
		"add rule inet office in tcp dport 25 drop", "add table ip warren", "add table inet warren2")
	before := nft(t, "list table inet office")
	s.apply(t, peers.Diff(s.observe(t), plan)...)
	for name, damage := range map[string]string{
		"a flushed table":         "flush table inet warren",
		"a flushed chain":         "flush chain inet warren clamp",
		"a deleted table":         "delete table inet warren",
		"a dormant table":         "add table inet warren { flags dormant; }",
		"a policy":                "chain inet warren clamp { policy drop; }",
		"a rule of somebody else": "add rule inet warren clamp counter",
		"one before ours":         "insert rule inet warren clamp drop",
		"a chain that drops":      "add chain inet warren x { type filter hook output priority 0; policy drop; }",
	} {
		nft(t, damage)
		if got := s.observe(t).Guard; got.Digest != "" || got.Fault != "" {
			t.Errorf("%s was not noticed: %+v", name, got)
		}
		if steps := peers.Diff(s.observe(t), plan); len(steps) != 1 {
			t.Errorf("%s: steps %v", name, steps)
		}
		s.apply(t, peers.Diff(s.observe(t), plan)...)
		if steps := peers.Diff(s.observe(t), plan); len(steps) != 0 {
			t.Errorf("%s is not healed: %v", name, steps)
		}
	}
	handle := nft(t, "list chain inet warren clamp")
	_, handle, _ = strings.Cut(handle, "# handle ")
	_, handle, _ = strings.Cut(handle, "# handle ")
	handle, _, _ = strings.Cut(handle, "\n")
	nft(t, "delete rule inet warren clamp handle "+handle)
	if got := s.observe(t).Guard; got.Digest != "" {
		t.Errorf("a deleted rule was not noticed: %+v", got)
	}
	s.apply(t, peers.Diff(s.observe(t), peers.Plan{})...)
	if got := nft(t, "list tables"); strings.Contains(got, "inet warren #") || strings.Count(got, "table ") != 3 {
		t.Errorf("in the end there are\n%s", got)
	}
	if after := nft(t, "list table inet office"); after != before {
		t.Errorf("somebody else's table was\n%s\nand is\n%s", before, after)
	}
}

// TestGuardAsksLittle: while nobody changes rules, an observation reads none.
func TestGuardAsksLittle(t *testing.T) {
	k := newKernel(t)
	s := subject{kernel: k}
	s.apply(t, peers.SetGuard{Guard: peers.Guard{Clamp: true}})
	first := s.observe(t).Guard
	k.guard.seen.Digest = "remembered"
	if got := s.observe(t).Guard; got.Digest != "remembered" {
		t.Errorf("the table was read again: %+v", got)
	}
	nft(t, "add table inet office")
	if got := s.observe(t).Guard; got != first {
		t.Errorf("the table was not read again: %+v, want %+v", got, first)
	}
}

// TestGuardMissing has a kernel that knows nothing of nftables: the rest works, without a failure.
func TestGuardMissing(t *testing.T) {
	k := newKernel(t)
	if err := k.guard.close(); err != nil {
		t.Fatal(err)
	}
	k.guard = &guard{fault: unix.EPROTONOSUPPORT}
	s := subject{kernel: k}
	plan := planFor(1)
	s.apply(t, peers.Diff(s.observe(t), plan)...)
	state := s.observe(t)
	if !strings.Contains(state.Guard.Fault, "no nf_tables") || len(state.Links) != 1 {
		t.Errorf("%+v", state)
	}
	if steps := peers.Diff(state, plan); len(steps) != 0 {
		t.Errorf("steps %v", steps)
	}
	samePrefixes(t, "addresses", state.Links[0].Addresses, "10.90.0.1/32", "fd00:90::1/128")
}
