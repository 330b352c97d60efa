package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/lab/labtest"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// file puts a file on the controller's host and gives its name there.
func (m *mesh) file(name, text string) string {
	m.t.Helper()
	name = filepath.Join(m.t.TempDir(), name) // others on this machine may run tests, too
	if err := os.WriteFile(m.lab.Host(lab.DefaultController).Path(name), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return name
}

func (m *mesh) pending() *wire.Pending {
	m.t.Helper()
	var v wire.MeshView
	m.list(&v, "mesh", "show")
	return v.Pending
}

// kernel is what the members have of tunnels, routes and rules of ours, without what counts.
func (m *mesh) kernel() string {
	m.t.Helper()
	var b strings.Builder
	for _, h := range m.Members() {
		for _, argv := range [][]string{
			{"ip", "route", "show", "proto", "119"}, {"ip", "-6", "route", "show", "proto", "119"}, {"nft", "-s", "list", "table", "inet", "warren"},
		} {
			out, err := h.Command(m.patient(), argv...).CombinedOutput()
			if err != nil {
				m.t.Fatalf("%v on %s: %v\n%s", argv, h.Name(), err, out)
			}
			lines := strings.Split(string(out)+m.wgPeers(h.Name()), "\n")
			// Who has knocked in the last minutes counts, too.
			lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" || strings.Contains(l, "elements =") })
			slices.Sort(lines)
			fmt.Fprintf(&b, "%s: %v\n%s\n", h.Name(), argv, strings.Join(lines, "\n"))
		}
	}
	return b.String()
}

const cutAll = "policy:\n  flows: []\n"

// TestApply: a file is applied as a whole, shown before, and what is exported applies to nothing. A policy that cuts
// everybody off is taken back by itself where nobody confirms it, also when the controller was killed meanwhile.
func TestApply(t *testing.T) {
	m := startMesh(t, "shop", "warehouse", "accounting")
	m.allUp(2)
	export := m.must(lab.DefaultController, "export")
	if out := m.must(lab.DefaultController, "apply", "-f", m.file("same.yaml", export), "--yes"); !strings.Contains(out, "Nothing differs.") {
		t.Errorf("what was exported changes something:\n%s", out)
	}
	if again := m.must(lab.DefaultController, "export"); again != export {
		t.Errorf("the second export is another one:\n%s", again)
	}
	m.badFiles(t)

	before, revision := m.kernel(), m.revision()
	cut := m.file("cut.yaml", cutAll)
	var plan wire.DeclaredResult
	m.list(&plan, "apply", "-f", cut, "--dry-run")
	if len(plan.CutOff) != 3 || len(plan.Flows) == 0 || m.revision() != revision {
		t.Errorf("the dry run says %+v", plan)
	}
	m.must(lab.DefaultController, "apply", "-f", cut, "--yes", "--confirm-within", "20s")
	for _, h := range m.Members() {
		until(t, patience, h.Name()+" has no peer any more", func() bool { return len(m.status(h.Name()).Peers) == 0 })
	}
	p := m.pending()
	if p == nil || p.Left > 20 {
		t.Fatalf("the mesh says that %+v is pending", p)
	}
	if f := m.fails(lab.DefaultController, "policy", "apply", m.file("other.yaml", "flows: [{from: '*', to: '*', allow: icmp}]")); f.Code != "pending" {
		t.Errorf("somebody else's policy: %+v", f)
	}
	if err := m.Controller().Kill(); err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Until(p.Until))
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "it is taken back", func() bool { return m.pending() == nil })
	m.allUp(2)
	if after := m.must(lab.DefaultController, "export"); after != export {
		t.Errorf("another mesh than before:\n%s\nwant\n%s", after, export)
	}
	for deadline := time.After(patience); m.kernel() != before; {
		select {
		case <-deadline:
			t.Fatalf("the hosts are not as before (-want +got):\n%s", cmp.Diff(before, m.kernel()))
		case <-time.After(100 * time.Millisecond):
		}
	}
	if log := m.must(lab.DefaultController, "audit", "log"); !strings.Contains(log, "taken back, as nobody confirmed it: policy") {
		t.Errorf("the audit log does not say so:\n%s", log)
	}

	m.must(lab.DefaultController, "apply", "-f", cut, "--yes", "--confirm-within", "10s")
	p = m.pending()
	m.must(lab.DefaultController, "apply", "--confirm")
	<-time.After(time.Until(p.Until.Add(2 * time.Second)))
	if v := m.must(lab.DefaultController, "policy", "show"); !strings.Contains(v, "No flow is allowed") {
		t.Errorf("what was confirmed is not there:\n%s", v)
	}
}

// bomb is a few lines of YAML that make up a billion words.
func bomb() string {
	text := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i < 'k'; i++ {
		text += fmt.Sprintf("%c: &%c [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", i-1), 9), ","))
	}
	return text
}

// badFiles: none of them changes anything, and each is refused with a word about what is wrong.
func (m *mesh) badFiles(t *testing.T) {
	revision := m.revision()
	tests := "policy:\n  flows: [{from: '*', to: '*', allow: icmp}]\n  tests:\n" +
		"  - {from: host:shop, to: host:warehouse, proto: icmp, expect: allow}\n" +
		"  - {from: host:shop, to: host:warehouse, proto: icmp, expect: deny}\n"
	for name, c := range map[string]struct{ text, says string }{
		"large":         {strings.Repeat("# ten megabytes\n", 10<<20/16), "1048576 at most"},
		"bomb":          {bomb() + "sites: *j\n", "there is no field"},
		"deep":          {strings.Repeat("[", 500_000), ""},
		"unknown field": {"sites: {shop: {moat: 3}}", `line 1: there is no field "moat" here`},
		"twice":         {"sites:\n  shop: {}\n  shop: {}", `line 3: "shop" is there twice`},
		"contradiction": {tests, "expects the opposite"},
		"no such host":  {"hosts: {shop: {}, attic: {labels: {a: b}}}", `there is no host "attic"`},
		"used site":     {"sites: {shop: {}}", "belongs to it"},
		"bad half":      {"settings: {mtu: 1380}\nsites: {shop: {prefixes: 10.0.0.1/8}, warehouse: {}, accounting: {}}", "no network"},
		"not a file":    {"", "there is nothing in it"},
	} {
		_, diag, code := m.run(lab.DefaultController, "apply", "-f", m.file("bad.yaml", c.text), "--yes")
		if code != 1 || !strings.Contains(diag, c.says) || len(diag) > 5000 {
			t.Errorf("%s: exit code %d, %.600s", name, code, diag)
		}
	}
	if now := m.revision(); now != revision {
		t.Errorf("something of a bad file was applied: revision %d, was %d", now, revision)
	}
}

// TestCutOffHostComesBack: a network of a site that covers the controller takes the way to it from a host. The host
// finds its way back within a minute, without the network, and the controller hears of it.
func TestCutOffHostComesBack(t *testing.T) {
	bin, err := filepath.Abs("../../../bin")
	if err != nil {
		t.Fatal(err)
	}
	l := labtest.New(t, lab.Topology{Bin: bin, Hosts: []lab.HostSpec{{Name: lab.DefaultController}, {Name: "shop"}, {Name: "warehouse"}}})
	at := l.Host(lab.DefaultController)
	m := &mesh{t: t, lab: l}
	// The third address, where nobody is, lets the controller hope that hosts find it elsewhere.
	args := []string{"--advertise", at.IPv4().String() + ":7443", "--advertise", "192.0.2.254:7443"}
	covered := []string{at.IPv4().String() + "/32"}
	if at.IPv6().IsValid() {
		args = append(args, "--advertise", "["+at.IPv6().String()+"]:7443")
		covered = append(covered, at.IPv6().String()+"/128")
	}
	if m.Mesh, err = lab.StartMesh(m.patient(), l, lab.MeshOptions{ControllerArgs: args}); err != nil {
		t.Fatal(err)
	}
	m.allUp(1)
	out := m.must(lab.DefaultController, "site", "set", "warehouse", "--prefix", covered[0], "--prefix", covered[len(covered)-1],
		"--gateway", "warehouse")
	if !strings.Contains(out, "controller-inside") {
		t.Errorf("nobody is warned:\n%s", out)
	}
	began := time.Now()
	until(t, patience, "the shop is cut off", func() bool {
		route, _ := l.Host("shop").Command(m.patient(), "ip", "route", "get", at.IPv4().String()).CombinedOutput()
		return strings.Contains(string(route), "wrn") || strings.Contains(string(route), "unreachable")
	})
	until(t, 2*patience, "the controller hears of it", func() bool {
		return slices.ContainsFunc(m.hosts()["shop"].Problems, func(p peers.Problem) bool { return p.Code == "plan-withdrawn" })
	})
	back := time.Since(began)
	t.Logf("cut off, back and told after %.1f s", back.Seconds())
	if back > time.Minute {
		t.Errorf("it took %v, at most a minute is allowed", back)
	}
	if s := m.status("shop"); !s.Controller.Connected || m.up("shop") != 1 {
		t.Errorf("the shop is %+v", s.Controller)
	}
	m.must(lab.DefaultController, "site", "set", "warehouse", "--remove-prefix", covered[0], "--remove-prefix", covered[len(covered)-1])
	until(t, patience, "all is well", func() bool { return len(m.hosts()["shop"].Problems) == 0 })
	raw, err := json.Marshal(m.status("shop").Problems)
	if err != nil || string(raw) != "[]" {
		t.Errorf("the shop still has %s", raw)
	}
}
