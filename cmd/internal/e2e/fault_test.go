package e2e

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/tap"
	"github.com/warren-mesh/warren/peers/wire"
)

func TestControllerRestartLosesNothing(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	tr := flow(t, m.lab.Host("shop"), m.lab.Host("warehouse"), m.status("warehouse").Address)
	for range 3 {
		if err := m.Controller().Kill(); err != nil {
			t.Fatal(err)
		}
		until(t, patience, "the agent notices", func() bool { return !m.status("shop").Controller.Connected })
		tr.more(50)
		if _, err := m.StartController(m.patient()); err != nil {
			t.Fatal(err)
		}
		until(t, patience, "the agent is back", func() bool { return m.status("shop").Controller.Connected })
		tr.more(50)
	}
	if sent, lost := tr.end(); lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	if s := m.status("shop"); s.State != wire.StateOK {
		t.Errorf("state %s, problems %v", s.State, s.Problems)
	}
}

// An agent is killed that often, each time within this after its start.
const (
	kills      = 50
	killWithin = 300 * time.Millisecond
)

// TestAgentKillLosesNothing kills an agent at any moment, many times in a row, under traffic.
func TestAgentKillLosesNothing(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	shop := m.lab.Host("shop")
	tr := flow(t, shop, m.lab.Host("warehouse"), m.status("warehouse").Address6)
	tr.more(50)
	before, index := m.status("shop"), linkIndex(t, shop, m.status("shop").Interfaces[0].Name)
	if err := m.Agent("shop").Kill(); err != nil {
		t.Fatal(err)
	}
	for range kills {
		// Not when it is ready: anywhere in its start, in its first turn or with the controller.
		agent, err := shop.Start("victim", "warren-agent", "run")
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(rand.N(killWithin))
		if err := agent.Kill(); err != nil {
			t.Fatal(err)
		}
		tr.more(1)
	}
	if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "the agent is well again", func() bool { return m.status("shop").State == wire.StateOK })
	tr.more(50)
	if sent, lost := tr.end(); lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	after := m.status("shop")
	if now := linkIndex(t, shop, after.Interfaces[0].Name); now != index {
		t.Errorf("the interface had index %d and has %d", index, now)
	}
	if a, b := before.Interfaces[0], after.Interfaces[0]; a.Name != b.Name || a.Port != b.Port || a.PublicKey != b.PublicKey {
		t.Errorf("the interface was %+v and is %+v", a, b)
	}
	if a, b := before.Peers[0], after.Peers[0]; b.RxBytes <= a.RxBytes || b.TxBytes <= a.TxBytes {
		t.Errorf("counters began anew: %d/%d, then %d/%d", a.RxBytes, a.TxBytes, b.RxBytes, b.TxBytes)
	}
	if b := before.Peers[0].LastHandshake; b == nil || after.Peers[0].LastHandshake.Before(*b) {
		t.Errorf("the session began anew: %v, then %v", b, after.Peers[0].LastHandshake)
	}
}

func linkIndex(t testing.TB, h *lab.Host, name string) (index int) {
	t.Helper()
	if err := h.Do(func() error {
		l, err := netlink.LinkByName(name)
		if err == nil {
			index = l.Attrs().Index
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return index
}

func TestRevokedHostIsGoneAtOnce(t *testing.T) {
	m := startMesh(t, sites()...)
	m.allUp(2)
	tr := flow(t, m.lab.Host("shop"), m.lab.Host("accounting"), m.status("accounting").Address)
	other := flow(t, m.lab.Host("shop"), m.lab.Host("warehouse"), m.status("warehouse").Address)
	tr.more(20)
	m.must(lab.DefaultController, "host", "revoke", "accounting", "--why", "stolen")
	done := time.Now()
	last := tr.quiet(patience, 500*time.Millisecond)
	if took := last.Sub(done); took > time.Second {
		t.Errorf("the revoked host was reachable for %v after the command had ended", took)
	}
	until(t, patience, "the others have forgotten it", func() bool {
		return len(m.status("shop").Peers) == 1 && len(m.status("warehouse").Peers) == 1
	})
	other.more(20)
	if sent, lost := other.end(); lost != 0 {
		t.Errorf("%d of %d packets between the others lost", lost, sent)
	}
	until(t, patience, "the revoked host knows", func() bool {
		s := m.status("accounting")
		return s.State == wire.StateDown && hasProblem(s, "revoked")
	})
	// Its identity never comes back, not even with a new token after it was removed.
	m.must(lab.DefaultController, "host", "rm", "accounting")
	if err := m.Agent("accounting").Kill(); err != nil {
		t.Fatal(err)
	}
	// Its agent forgets that it was a member, and keeps who it is: the refusal must be the controller's.
	for _, name := range []string{"membership", "plan", "plan.previous"} {
		if err := os.RemoveAll(m.lab.Host("accounting").Path("/var/lib/warren-agent/" + name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.StartAgent(m.patient(), "accounting"); err != nil {
		t.Fatal(err)
	}
	token, err := m.Token(m.patient(), "--site", "accounting")
	if err != nil {
		t.Fatal(err)
	}
	if f := m.fails("accounting", "enroll", token); f.Code != "revoked" || f.Hint == "" {
		t.Errorf("the revoked identity was refused with %+v, want revoked and a hint", f)
	}
	if _, back := m.hosts()["accounting"]; back {
		t.Error("the revoked identity came back")
	}
}

func hasProblem(s wire.Status, code string) bool {
	for _, p := range s.Problems {
		if strings.Contains(p.Code, code) {
			return true
		}
	}
	return false
}

func TestSuspendedHostResumes(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	m.must(lab.DefaultController, "host", "suspend", "warehouse")
	until(t, patience, "the suspended host is gone", func() bool { return len(m.status("shop").Peers) == 0 })
	m.must(lab.DefaultController, "host", "resume", "warehouse")
	m.allUp(1)
}

func TestRebootWithoutController(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	shop := m.lab.Host("shop")
	until(t, patience, "the plan is on disk", func() bool {
		raw, err := os.ReadFile(shop.Path("/var/lib/warren-agent/plan"))
		return err == nil && bytes.Contains(raw, []byte(`"warehouse"`))
	})
	if err := m.Controller().Kill(); err != nil {
		t.Fatal(err)
	}
	if err := shop.Reboot(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	tr := flow(t, shop, m.lab.Host("warehouse"), m.status("warehouse").Address)
	t.Logf("first answer %v after the agent was ready", time.Since(start))
	tr.more(20)
	tr.end()
}

// TestNothingFallsOut takes the tunnel away under a host and watches its internet link while it talks to
// the mesh.
func TestNothingFallsOut(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	shop := m.lab.Host("shop")
	to, name := m.status("warehouse").Address, m.status("shop").Interfaces[0].Name
	if err := m.Agent("shop").Kill(); err != nil {
		t.Fatal(err)
	}
	if err := shop.Do(func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkDel(l)
	}); err != nil {
		t.Fatal(err)
	}
	if n := fallsOut(t, m, shop, to); n != 0 {
		t.Errorf("%d packets for the mesh left without a tunnel", n)
	}
	// Would it have been seen?
	if err := shop.Do(removeOurRoutes); err != nil {
		t.Fatal(err)
	}
	if n := fallsOut(t, m, shop, to); n != 0 {
		t.Errorf("%d packets for the mesh left without a tunnel, the routes being gone", n)
	}
	m.nft("shop", "delete", "table", "inet", "warren")
	if fallsOut(t, m, shop, to) == 0 {
		t.Error("without the unreachable route and the guard nothing is seen either: this test sees nothing")
	}
	// The agent brings the tunnel back.
	if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
		t.Fatal(err)
	}
	m.allUp(1)
}

// fallsOut talks to an address of the mesh and counts what leaves the host for it that is no tunnel's.
func fallsOut(t *testing.T, m *mesh, from *lab.Host, to netip.Addr) int {
	t.Helper()
	watch, err := tap.Open(tap.Options{
		Links: []string{from.Name()}, WireGuard: []uint16{51820, 51821},
		Controller: []netip.AddrPort{netip.AddrPortFrom(m.lab.Host(lab.DefaultController).IPv4(), 7443)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := from.Do(func() error {
		conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(to, 80).String(), 500*time.Millisecond)
		if err == nil {
			_ = conn.Close()
			return errors.New("there is an answer without a tunnel")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	report, err := watch.Close()
	if err != nil {
		t.Fatal(err)
	}
	return int(report.Total().Packets.Other)
}

func removeOurRoutes() error {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: 119}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return err
	}
	for i := range routes {
		if err := netlink.RouteDel(&routes[i]); err != nil {
			return err
		}
	}
	return nil
}

func TestIdleAgentsWriteNothing(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	shop := m.lab.Host("shop")
	if err := m.Agent("shop").Kill(); err != nil {
		t.Fatal(err)
	}
	updates := make(chan netlink.RouteUpdate, 64)
	links := make(chan netlink.LinkUpdate, 64)
	done := make(chan struct{})
	defer close(done)
	if err := shop.Do(func() error {
		if err := netlink.RouteSubscribe(updates, done); err != nil {
			return err
		}
		return netlink.LinkSubscribe(links, done)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "the agent is well", func() bool { return m.status("shop").State == wire.StateOK })
	tr := flow(t, shop, m.lab.Host("warehouse"), m.status("warehouse").Address)
	tr.more(200)
	tr.end()
	if n := len(updates) + len(links); n != 0 {
		t.Errorf("an agent that found everything right changed %d routes and links", n)
	}
	log := m.Agent("shop").Log()
	if i := strings.LastIndex(log, "version="); i > 0 && strings.Contains(log[i:], "applied") {
		t.Errorf("it applied steps:\n%s", log[i:])
	}
}
