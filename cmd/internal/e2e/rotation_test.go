package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// rotationTakes is how long a rotation of a few hosts may take when nobody is away.
const rotationTakes = 15 * time.Second

// TestRotationLosesNothing replaces all keys several times, one rotation after the other, while traffic flows
// between each pair of hosts in both directions.
func TestRotationLosesNothing(t *testing.T) {
	m := startMesh(t, sites()...)
	m.allUp(2)
	flows := m.everybody()
	for g := peers.Generation(2); g <= 5; g++ {
		old := append(m.secrets(), m.secretOf(g-1))
		m.apart(old)
		began := time.Now()
		m.rotate(g)
		m.rotated(g, rotationTakes)
		t.Logf("generation %d: %v", g, time.Since(began).Round(time.Millisecond))
		m.onlyGeneration(g)
		m.nowhere(old)
	}
	for name, f := range flows {
		if sent, lost := f.end(); lost > 0 || sent == 0 {
			t.Errorf("%s: %d of %d packets lost", name, lost, sent)
		}
	}
}

// TestRotationWithoutAHost rotates twice while a host is away. It holds up the next rotation and nothing else, is left
// behind when its time is over, and comes back by itself.
func TestRotationWithoutAHost(t *testing.T) {
	m := startMesh(t, sites()...)
	m.allUp(2)
	away := m.lab.Host("accounting")
	stays := flow(t, m.lab.Host("shop"), m.lab.Host("warehouse"), m.status("warehouse").Address)
	if err := m.Agent("accounting").Kill(); err != nil {
		t.Fatal(err)
	}
	if err := away.Cut(); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "the controller misses accounting", func() bool { return !m.hosts()["accounting"].Online })
	m.rotate(2, "--grace", "20s")
	until(t, rotationTakes, "all others have left the older generation", func() bool {
		v := m.rotation()
		return v.Pairs == wire.RotationPairs{Total: 3, Proven: 1, Switched: 1, Retired: 1} && len(v.Waiting) == 1 &&
			v.Waiting[0].Host == "accounting" && v.Waiting[0].Code == peers.WaitOffline
	})
	if f := m.fails(lab.DefaultController, "rotate"); f.Code != "rotation-running" {
		t.Errorf("a second rotation beside the first one: %+v", f)
	}
	m.rotated(2, patience)
	if last := m.rotation().Last; last == nil || last.Cut != 2 || last.Keys != 2 || len(last.Behind) != 1 {
		t.Errorf("how it ended: %+v, want accounting left behind by two others", last)
	}
	if log := m.Controller().Log(); !strings.Contains(log, "left behind: accounting") {
		t.Errorf("the controller does not say who was left behind:\n%s", log)
	}
	m.rotate(3)
	m.rotated(3, rotationTakes)
	if last := m.rotation().Last; last == nil || last.Cut != 0 {
		t.Errorf("how the next one ended: %+v, want nobody cut off by it", last)
	}
	if sent, lost := stays.end(); lost > 0 {
		t.Errorf("%d of %d packets between those who were there are lost", lost, sent)
	}
	if err := away.Restore(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartAgent(m.patient(), "accounting"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	m.onlyGeneration(3)
	t.Logf("accounting is back after %v", time.Since(began).Round(time.Millisecond))
	m.must(lab.DefaultController, "audit", "verify")
}

// TestRotationGoesOn kills the controller and an agent in the middle of a rotation, and reboots a host. The rotation ends
// by itself, and between those whose host was there all the time nothing is lost.
func TestRotationGoesOn(t *testing.T) {
	m := startMesh(t, append(sites(), "office")...)
	m.allUp(3)
	stays := flow(t, m.lab.Host("shop"), m.lab.Host("warehouse"), m.status("warehouse").Address)
	m.rotate(2)
	until(t, patience, "shop has a second interface", func() bool { return len(m.status("shop").Interfaces) == 2 })
	for _, kill := range []*lab.Daemon{m.Controller(), m.Agent("shop")} {
		if err := kill.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.lab.Host("office").Reboot(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartAgent(m.patient(), "office"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	m.rotated(2, patience)
	m.onlyGeneration(2)
	if sent, lost := stays.end(); lost > 0 {
		t.Errorf("%d of %d packets between those who were there are lost", lost, sent)
	}
}

// TestEnrolDuringRotation: a host that joins while another one holds up a rotation reaches everybody.
func TestEnrolDuringRotation(t *testing.T) {
	m := newMesh(t, sites()...)
	for _, name := range []string{"shop", "warehouse"} {
		if err := m.Enrol(m.patient(), name, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Agent("warehouse").Kill(); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "the controller misses the warehouse", func() bool { return !m.hosts()["warehouse"].Online })
	m.rotate(2)
	token, _ := m.token("--site", "accounting")
	if out, diag, code := m.run("accounting", "enroll", token); code != 3 { // the warehouse does not answer
		t.Fatalf("enroll: exit code %d\n%s%s", code, out, diag)
	}
	until(t, patience, "accounting reaches shop on the new generation", func() bool {
		for _, p := range m.status("accounting").Peers {
			if p.Host == "shop" {
				return p.State == wire.PeerUp && p.Generation == 2
			}
		}
		return false
	})
	if n := len(m.hosts()["accounting"].Keys); n != 2 {
		t.Errorf("accounting has %d keys, want one of each generation", n)
	}
	if _, err := m.StartAgent(m.patient(), "warehouse"); err != nil {
		t.Fatal(err)
	}
	m.rotated(2, patience)
	m.onlyGeneration(2)
}

// TestWrongPresharedKeyIsHealed puts another pre-shared key into the plan on a host's disk, with the right checksum. The
// controller has not changed anything, and yet the host gets the right one from it.
func TestWrongPresharedKeyIsHealed(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	shop := m.lab.Host("shop")
	if err := m.Agent("shop").Kill(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plan", "plan.previous"} {
		path := shop.Path(agentData + name)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := bytes.Cut(raw, []byte("\n"))
		for _, s := range presharedIn(t, shop, raw) {
			body = bytes.ReplaceAll(body, []byte(s.text), []byte("AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="))
		}
		if err := os.WriteFile(path, fmt.Appendf(nil, "warren plan 1 sha256:%x\n%s", sha256.Sum256(body), body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := shop.Reboot(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	flow(t, shop, m.lab.Host("warehouse"), m.status("warehouse").Address)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}

// everybody starts traffic from each host to each other one.
func (m *mesh) everybody() map[string]*traffic {
	m.t.Helper()
	out := map[string]*traffic{}
	for _, from := range m.Members() {
		for _, p := range m.status(from.Name()).Peers {
			out[from.Name()+" to "+p.Host] = flow(m.t, from, m.lab.Host(p.Host), p.Address)
		}
	}
	return out
}

// rotate begins a rotation to a generation.
func (m *mesh) rotate(to peers.Generation, flags ...string) {
	m.t.Helper()
	var v wire.RotationView
	out := m.must(lab.DefaultController, append([]string{"rotate", "--reason", "test", "-o", "json"}, flags...)...)
	if err := json.Unmarshal([]byte(out), &v); err != nil || v.Generation != to || v.Phase == peers.PhaseIdle {
		m.t.Fatalf("warren rotate: %v: %s", err, out)
	}
}

func (m *mesh) rotation() wire.RotationView {
	m.t.Helper()
	var v wire.RotationView
	out := m.must(lab.DefaultController, "rotate", "status", "-o", "json")
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		m.t.Fatalf("warren rotate status: %v: %s", err, out)
	}
	return v
}

// rotated waits until no rotation runs any more.
func (m *mesh) rotated(g peers.Generation, within time.Duration) {
	m.t.Helper()
	var v wire.RotationView
	defer func() {
		if m.t.Failed() {
			m.t.Logf("%+v", v)
		}
	}()
	until(m.t, within, fmt.Sprintf("generation %d is the only one", g), func() bool {
		v = m.rotation()
		return v.Phase == peers.PhaseIdle && v.Generation == g
	})
}

// onlyGeneration waits until each host has the interface of one generation, all peers on it, and no other.
func (m *mesh) onlyGeneration(g peers.Generation) {
	m.t.Helper()
	for _, h := range m.Members() {
		until(m.t, patience, h.Name()+" is on the new generation only", func() bool {
			s := m.status(h.Name())
			for _, p := range s.Peers {
				if p.Generation != g || p.State != wire.PeerUp {
					return false
				}
			}
			return len(s.Interfaces) == 1 && s.Interfaces[0].Generation == g && s.State == wire.StateOK
		})
		out, err := h.Command(m.patient(), "ip", "-br", "link").CombinedOutput()
		if err != nil || strings.Count(string(out), "wrn") != 1 || !strings.Contains(string(out), g.Link()) {
			m.t.Errorf("%s has other interfaces than %s: %v\n%s", h.Name(), g.Link(), err, out)
		}
	}
}
