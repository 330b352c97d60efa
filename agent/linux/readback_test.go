package linux

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/peers"
)

// A printed object is what ip(8) says of one thing.
type printed map[string]any

// TestReadBack has the host's own tools say what was made, after it was made twice.
func TestReadBack(t *testing.T) {
	s := subject{kernel: newKernel(t)}
	plan := planFor(2)
	for range 2 {
		s.apply(t, peers.Diff(s.observe(t), plan)...)
	}
	bare := peers.State{IPv6: true, Guard: s.observe(t).Guard}
	s.apply(t, peers.Diff(bare, plan)[1:]...) // all but the link, once more
	if steps := peers.Diff(s.observe(t), plan); len(steps) != 0 {
		t.Errorf("still different: %v", steps)
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("the host has no ip(8)")
	}
	link := ip(t, "-d", "link", "show", "wrn0")[0]
	if flags, _ := link["flags"].([]any); link["mtu"] != 1420.0 || !slices.Contains(flags, any("UP")) {
		t.Errorf("link: %v", link)
	}
	same(t, "addresses", ip(t, "address", "show", "wrn0")[0].list("addr_info", func(a printed) string {
		if a["scope"] == "link" || a["tentative"] != nil {
			return ""
		}
		return a.text("local", "prefixlen", "scope")
	}), "10.90.0.1 32 global", "fd00:90::1 128 global")
	same(t, "IPv4 routes", routes(t, "-4"),
		"unreachable 10.90.0.0/16 _ _ _ 4278198272",
		"_ 10.90.1.0 wrn0 link 10.90.0.1 119000",
		"_ 10.90.1.1 wrn0 link 10.90.0.1 119000")
	same(t, "IPv6 routes", routes(t, "-6"),
		"unreachable fd00:90::/48 lo _ _ 4278198272",
		"_ fd00:90::100 wrn0 _ fd00:90::1 119000",
		"_ fd00:90::101 wrn0 _ fd00:90::1 119000")
	if out, err := exec.CommandContext(t.Context(), "wg", "show", "wrn0", "allowed-ips").Output(); err == nil {
		same(t, "wg", strings.Split(strings.TrimSpace(string(out)), "\n"),
			public("host0").String()+"\t10.90.1.0/32 fd00:90::100/128",
			public("host1").String()+"\t10.90.1.1/32 fd00:90::101/128")
	}
}

func routes(t *testing.T, family string) (out []string) {
	t.Helper()
	for _, r := range ip(t, family, "route", "show", "protocol", "119") {
		out = append(out, r.text("type", "dst", "dev", "scope", "prefsrc", "metric"))
	}
	return out
}

// ip runs ip(8) and takes its answer apart.
func ip(t *testing.T, args ...string) (out []printed) {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), "ip", append([]string{"-j"}, args...)...).Output()
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil || len(out) == 0 {
		t.Fatalf("ip %v: %v: %s", args, err, text)
	}
	return out
}

// text prints fields, a _ for each that is not there.
func (p printed) text(fields ...string) string {
	words := make([]string, len(fields))
	for i, f := range fields {
		value, err := json.Marshal(p[f])
		if words[i] = strings.Trim(string(value), `"`); err != nil || p[f] == nil {
			words[i] = "_"
		}
	}
	return strings.Join(words, " ")
}

// list prints the objects of a field, without those that print as nothing.
func (p printed) list(field string, show func(printed) string) (out []string) {
	all, _ := p[field].([]any)
	for _, one := range all {
		if object, ok := one.(map[string]any); ok && show(object) != "" {
			out = append(out, show(object))
		}
	}
	return out
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
