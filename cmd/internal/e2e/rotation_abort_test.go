package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestRotationAborted rotates while a firewall lets nobody reach the second port. The rotation is given up, under traffic:
// nothing is lost, its interfaces and keys are gone, and the next one leads to another generation. One of which traffic
// has moved can not be given up.
func TestRotationAborted(t *testing.T) {
	m := startMesh(t, sites()...)
	m.allUp(2)
	if f := m.fails(lab.DefaultController, "rotate", "abort"); f.Code != "rotation-idle" {
		t.Errorf("while no rotation runs: %+v", f)
	}
	flows := m.everybody()
	for _, h := range m.Members() {
		m.nft(h.Name(), "table inet foreign { chain strict { type filter hook input priority 0; udp dport 51820 drop; }; }")
	}
	m.rotate(2)
	m.reaches(2, peers.PhaseProve, patience)
	for _, h := range m.Members() {
		until(t, patience, h.Name()+" has a second interface", func() bool { return len(m.status(h.Name()).Interfaces) == 2 })
	}
	given := m.newKeys(2)
	if out := m.must(lab.DefaultController, "rotate", "abort", "--dry-run"); !strings.Contains(out, "Nothing was changed") {
		t.Errorf("dry run:\n%s", out)
	}
	var v wire.RotationView
	out := m.must(lab.DefaultController, "rotate", "abort", "--reason", "the firewall", "-o", "json")
	if err := json.Unmarshal([]byte(out), &v); err != nil || v.Generation != 1 || v.Previous != nil || v.Held {
		t.Errorf("given up (%v):\n%s", err, out)
	}
	m.onlyGeneration(1)
	m.nowhere(given)
	log := m.must(lab.DefaultController, "audit", "log")
	for _, want := range []string{"is to be given up", "(the firewall)", "is given up before any traffic has moved"} {
		if !strings.Contains(log, want) {
			t.Errorf("the audit log does not say %q:\n%s", want, log)
		}
	}
	for _, h := range m.Members() {
		m.nft(h.Name(), "delete", "table", "inet", "foreign")
	}
	m.rotate(4)
	m.rotated(4, rotationTakes)
	m.onlyGeneration(4)

	// With an agent that does not run the rotation waits, while the traffic of the others moves.
	m.killAgent("accounting")
	m.rotate(5)
	until(t, patience, "traffic of the others moves", func() bool { return m.rotation().Pairs.Switched > 0 })
	if f := m.fails(lab.DefaultController, "rotate", "abort"); f.Code != "rotation-moved" || !strings.Contains(f.Message, "shop") {
		t.Errorf("while traffic has moved: %+v", f)
	}
	if _, err := m.StartAgent(m.patient(), "accounting"); err != nil {
		t.Fatal(err)
	}
	m.rotated(5, patience)
	m.onlyGeneration(5)
	for name, f := range flows {
		if sent, lost := f.end(); lost > 0 || sent == 0 {
			t.Errorf("%s: %d of %d packets lost", name, lost, sent)
		}
	}
	m.must(lab.DefaultController, "audit", "verify")
}

// newKeys are the private keys of a generation of all hosts, and its secret.
func (m *mesh) newKeys(g peers.Generation) []secret {
	m.t.Helper()
	out := []secret{m.secretOf(g)}
	for _, h := range m.Members() {
		m.eachFile(h, func(path string, content []byte) {
			if _, key, ok := bytes.Cut(content, []byte("\n")); ok && filepath.Base(path) == fmt.Sprintf("key-%d", g) {
				out = append(out, newSecret(m.t, h.Name()+" "+filepath.Base(path), strings.TrimSpace(string(key))))
			}
		})
	}
	if n := len(m.Members()); len(out) != n+1 {
		m.t.Fatalf("%d private keys of %d hosts are found", len(out)-1, n)
	}
	return out
}
