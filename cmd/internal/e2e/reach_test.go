package e2e

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers/wire"
)

// controllerPort is where the controller of a lab listens.
const controllerPort = 7443

// byName is a mesh whose controller is known by a name first and by its address second. The hosts' resolver is one
// of their own: nobody answers there until somebody listens.
func byName(t *testing.T, members ...string) (m *mesh, name, address string) {
	t.Helper()
	l := newLab(t, members...)
	name = "controller.mesh.test:7443"
	address = netip.AddrPortFrom(l.Host(lab.DefaultController).IPv4(), controllerPort).String()
	for _, h := range l.Hosts() {
		if err := h.Do(ownResolver); err != nil {
			t.Fatal(err)
		}
	}
	lm, err := lab.NewMesh(l, lab.MeshOptions{ControllerArgs: []string{"--advertise", name, "--advertise", address}})
	if err != nil {
		t.Fatal(err)
	}
	m = &mesh{Mesh: lm, t: t, lab: l}
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	for _, member := range members {
		if _, err := m.StartAgent(m.patient(), member); err != nil {
			t.Fatal(err)
		}
		if err := m.Enrol(m.patient(), member, member); err != nil {
			t.Fatal(err)
		}
	}
	m.allUp(len(members) - 1)
	return m, name, address
}

// ownResolver makes port 53 of this host the resolver, which is what an empty file means.
func ownResolver() error {
	if err := os.WriteFile("/var/lib/resolv.conf", nil, 0o644); err != nil {
		return err
	}
	if _, err := os.Stat("/etc/resolv.conf"); os.IsNotExist(err) {
		return nil // and so does none
	}
	return unix.Mount("/var/lib/resolv.conf", "/etc/resolv.conf", "", unix.MS_BIND, "")
}

// TestControllerOutOfReach drops all that goes to the controller's port, and has a resolver that swallows every query
// when the agent starts. It is ready with its tunnels at once, says what is wrong, and takes the second address when
// the port is open again.
func TestControllerOutOfReach(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("there is no nft for the firewall")
	}
	m, name, address := byName(t, "shop", "warehouse")
	shop := m.lab.Host("shop")
	nft := func(command string) {
		t.Helper()
		if out, err := m.lab.Host(lab.DefaultController).Command(m.patient(), "nft", command).CombinedOutput(); err != nil {
			t.Fatalf("nft %s: %v: %s", command, err, out)
		}
	}
	link := m.status("shop").Interfaces[0].Name
	index := linkIndex(t, shop, link)
	tr := flow(t, shop, m.lab.Host("warehouse"), m.status("warehouse").Address)
	tr.more(20)
	nft(`table inet foreign { chain in { type filter hook input priority 0; tcp dport 7443 counter drop; }; }`)
	resolver := listenUDP(t, shop, 53)
	m.restart("shop") // returns when it is ready
	asked := make([]byte, 512)
	if s := m.status("shop"); s.Controller.Connected || len(s.Peers) != 1 || s.Peers[0].State != wire.PeerUp {
		t.Errorf("ready with the plan on disk: %+v", s)
	}
	until(t, patience, "it says what is wrong", func() bool { return hasProblem(m.status("shop"), "controller-unreachable") })
	if n, _, err := resolver.ReadFromUDPAddrPort(asked); err != nil || !strings.Contains(string(asked[:n]), "mesh\x04test") {
		t.Errorf("the resolver was asked for %q: %v", asked[:n], err)
	}
	out, _, code := m.run("shop", "status")
	if code != 3 || !strings.Contains(out, name) || !strings.Contains(out, address) || !strings.Contains(out, "hint") {
		t.Errorf("status, exit code %d:\n%s", code, out)
	}
	if s := m.status("shop"); s.State != wire.StateDegraded || m.up("shop") != 1 {
		t.Errorf("without a controller: %+v", s)
	}
	tr.more(20)
	nft("delete table inet foreign")
	until(t, patience, "it is back", func() bool { return m.status("shop").Controller.Connected })
	if s := m.status("shop"); s.Controller.Address != address || s.State != wire.StateOK {
		t.Errorf("back at %s: %+v", s.Controller.Address, s)
	}
	if sent, lost := tr.end(); lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	if now := linkIndex(t, shop, link); now != index {
		t.Errorf("the interface had index %d and has %d", index, now)
	}
}

// TestOlderDatabase puts a copy of before in the place of the controller's database. Hosts that are in it lose
// nothing, what the copy says counts, and the log says what happened.
func TestOlderDatabase(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	shop := m.lab.Host("shop")
	path := m.lab.Host(lab.DefaultController).Path(database)
	link := m.status("shop").Interfaces[0].Name
	index := linkIndex(t, shop, link)
	tr := flow(t, shop, m.lab.Host("warehouse"), m.status("warehouse").Address)
	tr.more(20)
	if err := m.Controller().Stop(m.patient()); err != nil {
		t.Fatal(err)
	}
	copied, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	older := m.revision()
	m.must(lab.DefaultController, "mesh", "set", "keepalive=20")
	until(t, patience, "the change has come", func() bool {
		return m.status("shop").Revision == older+1 && m.status("warehouse").Revision == older+1
	})
	if err := m.Controller().Kill(); err != nil {
		t.Fatal(err)
	}
	write(t, path, copied)
	began := len(m.Controller().Log())
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{"shop", "warehouse"} {
		until(t, patience, h+" follows the older ledger", func() bool {
			s := m.status(h)
			return s.Controller.Connected && s.Revision == older && s.State == wire.StateOK && m.up(h) == 1
		})
	}
	if log := m.Controller().Log(); strings.Count(log[min(began, len(log)):], "was an older backup restored?") != 1 {
		t.Errorf("the log does not say once that the ledger is an older one:\n%s", log)
	}
	if log := m.Agent("shop").Log(); !strings.Contains(log, "restored from a backup") {
		t.Errorf("the host's log says nothing:\n%s", log)
	}
	// It counts on, and the hosts with it.
	m.must(lab.DefaultController, "mesh", "set", "keepalive=21")
	until(t, patience, "the next change has come", func() bool { return m.status("shop").Revision == older+1 })
	tr.more(20)
	if sent, lost := tr.end(); lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	if now := linkIndex(t, shop, link); now != index {
		t.Errorf("the interface had index %d and has %d", index, now)
	}
}
