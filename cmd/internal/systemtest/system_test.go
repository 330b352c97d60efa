package systemtest

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestSystem is one boot of two machines; its parts follow on each other, as a machine's life does.
func TestSystem(t *testing.T) {
	w := newWorld(t)
	bare := w.snapshots()
	parts := []struct {
		name string
		run  func(w *world)
	}{
		{"install and enrol", installed},
		{"kernel tunnels outlive the agents", outlives},
		{"a gateway forwards", forwards},
		{"what others take away comes back", heals},
		{"an agent that hangs is replaced", stopped},
		{"hard reset without a controller", reset},
		{"nothing for the mesh leaves while it boots", guarded},
		{"a clock that went back", clockBack},
		{"a kernel without IPv6", withoutIPv6},
		{"a kernel without WireGuard", withoutModule},
		{"tunnel processes outlive the agents", outlives},
		{"remove and purge", func(w *world) { purged(w, bare) }},
	}
	for _, part := range parts {
		if t.Run(part.name, func(t *testing.T) { part.run(w.on(t)) }) {
			continue
		}
		if part.name == parts[0].name {
			t.Fatal("nothing can be tested without it")
		}
		w.mend()
	}
}

// mend brings the world back to where a part of the test that failed may not have left it.
func (w *world) mend() {
	w.warehouse.sh("systemctl start warren-controller warren-agent")
	w.shop.powerCut("", time.Time{})
}

// installed brings both machines into a mesh, from the packages.
func installed(w *world) {
	w.warehouse.install(first, "warren", "warren-agent", "warren-controller")
	w.shop.install(first, "warren", "warren-agent")
	w.warehouse.hardened(map[string]string{
		"warren-agent.service": "20", "warren-controller.service": "15", "warren-guard.service": "20", "warren-online.service": "10",
	})
	for _, m := range []*machine{w.warehouse, w.shop} {
		m.sh("systemctl is-active warren-agent && systemctl is-enabled warren-agent")
		m.sh("warren enroll " + w.token(m.name))
	}
	for _, m := range []*machine{w.warehouse, w.shop} {
		if s := m.well(); s.Backend != "kernel" {
			m.t.Errorf("the backend of %s is %s, want kernel", m.name, s.Backend)
		}
	}
	w.warehouse.unitsKnown("warren-agent", "warren-guard", "warren-controller")
	w.shop.unitsKnown("warren-agent", "warren-guard")
	s := w.shop.stream(w.warehouse, w.warehouse.well().Address)
	s.more(2 * perSecond)
	s.lossless()
}

// token makes one for a site on the controller.
func (w *world) token(site string) string {
	w.warehouse.t.Helper()
	var created struct{ Token string }
	out := w.warehouse.sh("warren token create -o json --site " + site + " --name " + site)
	if err := json.Unmarshal([]byte(out), &created); err != nil || created.Token == "" {
		w.warehouse.t.Fatalf("token create printed %s", out)
	}
	return created.Token
}

// lanAddress is the machine's own.
func lanAddress(m *machine) netip.Addr {
	m.t.Helper()
	for field := range strings.FieldsSeq(m.sh("ip -4 -o addr show dev eth0")) {
		if p, err := netip.ParsePrefix(field); err == nil {
			return p.Addr()
		}
	}
	m.t.Fatalf("%s has no address", m.name)
	return netip.Addr{}
}
