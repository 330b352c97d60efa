package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/lab/labtest"
	"github.com/warren-mesh/warren/peers/wire"
)

// A cause is something wrong with hosts or between them, and what doctor says of it where it can be seen.
type cause struct {
	name string
	make func(m *mesh) (undo func())
	says []saying
	stay bool // the next cause begins where this one ends
}

// A saying is the check of a host that names a cause, with its remedy.
type saying struct {
	host, check, result, message, remedy string
	with                                 []string // checks, or beginnings of them, which cannot be well meanwhile
}

// TestDoctorNamesCauses makes each known cause of trouble, one after the other. The doctor names it, by the check that is
// meant for it and with what helps, and has nothing to say against whatever is well. Firewalls that stop what a gateway
// forwards are in TestForeignFirewalls, and a wrong clock, a missing module and units that
// were changed in the test of whole machines.
func TestDoctorNamesCauses(t *testing.T) {
	m := startPatients(t)
	began := time.Now()
	link := m.status("shop").Interfaces[0].Name
	for _, c := range slices.Concat(causes(), m.withoutTun(), lastCauses(link)) {
		if !t.Run(c.name, func(t *testing.T) {
			m := m.in(t)
			undo := c.make(m)
			defer undo()
			for _, s := range c.says {
				m.named(s)
				t.Logf("%s: %s, %.0f s after the beginning", s.host, s.check, time.Since(began).Seconds())
			}
		}) {
			return // what comes next would begin on hosts that are ill
		}
		if !c.stay {
			m.allWell()
		}
	}
}

// startPatients is a mesh of a gateway and two hosts, whose controller has a name, and an agent that is in no mesh.
func startPatients(t *testing.T) *mesh {
	t.Helper()
	bin, err := filepath.Abs("../../../bin")
	if err != nil {
		t.Fatal(err)
	}
	shop := lab.LANLink{Segment: "floor", Addresses: []netip.Prefix{netip.MustParsePrefix("10.10.0.1/24")}}
	l := labtest.New(t, lab.Topology{Bin: bin, LANs: []string{"floor"}, Hosts: []lab.HostSpec{
		{Name: lab.DefaultController}, {Name: "shop", LAN: shop}, {Name: "warehouse"}, {Name: "accounting"}, {Name: "clone"},
	}})
	address := netip.AddrPortFrom(l.Host(lab.DefaultController).IPv4(), controllerPort)
	for _, h := range l.Hosts() {
		if err := h.Do(func() error { return knowNames(address.Addr()) }); err != nil {
			t.Fatal(err)
		}
	}
	lm, err := lab.NewMesh(l, lab.MeshOptions{
		Progress: func(line string) { t.Log(line) }, ControllerArgs: []string{"--advertise", nameOfController, "--advertise", address.String()},
	})
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{Mesh: lm, t: t, lab: l}
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	for _, h := range m.Members() {
		if _, err := m.StartAgent(m.patient(), h.Name()); err != nil {
			t.Fatal(err)
		}
	}
	m.must(lab.DefaultController, "mesh", "set", "keepalive=5") // so that silence says something soon
	for _, name := range patients() {
		if err := m.Enrol(m.patient(), name, name); err != nil {
			t.Fatal(err)
		}
	}
	m.must(lab.DefaultController, "site", "add", "shop", "--prefix", "10.10.0.0/24", "--gateway", "shop")
	m.allWell()
	return m
}

func patients() []string { return []string{"shop", "warehouse", "accounting"} }

const (
	nameOfController = "controller.mesh.test:7443"
	hostsFile        = "/var/lib/hosts"
)

// knowNames gives this host a file of names of its own, and a resolver that nobody is.
func knowNames(controller netip.Addr) error {
	if err := ownResolver(); err != nil {
		return err
	}
	names := fmt.Sprintf("127.0.0.1 localhost\n%v controller.mesh.test\n", controller)
	if err := os.WriteFile(hostsFile, []byte(names), 0o644); err != nil {
		return err
	}
	return unix.Mount(hostsFile, "/etc/hosts", "", unix.MS_BIND, "")
}

// doctor is what the doctor of a host says.
func (m *mesh) doctor(host string) (findings []wire.Finding) {
	m.t.Helper()
	out, diag, _ := m.run(host, "doctor", "-o", "json") // its code says what it has found
	if err := json.Unmarshal([]byte(out), &findings); err != nil {
		m.t.Fatalf("warren doctor -o json on %s: %v\n%s%s", host, err, out, diag)
	}
	return findings
}

// ill are the checks that found something.
func ill(findings []wire.Finding) []wire.Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f wire.Finding) bool { return f.Result == "ok" || f.Result == "skipped" })
}

// allWell waits until no doctor finds anything.
func (m *mesh) allWell() {
	m.t.Helper()
	for _, name := range patients() {
		var last []wire.Finding
		m.eventually(func() bool {
			last = ill(m.doctor(name))
			return len(last) == 0
		}, func() string { return fmt.Sprintf("%s is well; its doctor says %+v", name, last) })
	}
}

// named waits until a doctor says what it has to, and nothing against what is well.
func (m *mesh) named(s saying) {
	m.t.Helper()
	var last []wire.Finding
	m.eventually(func() bool {
		last = m.doctor(s.host)
		found := slices.ContainsFunc(last, func(f wire.Finding) bool {
			return f.Check == s.check && f.Result == s.result && strings.Contains(f.Message, s.message) && strings.Contains(f.Hint, s.remedy)
		})
		return found && !slices.ContainsFunc(ill(last), func(f wire.Finding) bool { return f.Check != s.check && !s.excuses(f.Check) })
	}, func() string {
		return fmt.Sprintf("the doctor of %s says, by %s, %s, %q and %q, and nothing else but of %v; it says %+v",
			s.host, s.check, s.result, s.message, s.remedy, s.with, ill(last))
	})
}

func (s saying) excuses(check string) bool {
	return slices.ContainsFunc(s.with, func(start string) bool { return strings.HasPrefix(check, start) })
}

// eventually is until with words that are known only in the end.
func (m *mesh) eventually(is func() bool, what func() string) {
	m.t.Helper()
	defer func() {
		if m.t.Failed() {
			m.t.Log(what())
		}
	}()
	until(m.t, patience, "see what the last look was", is)
}
