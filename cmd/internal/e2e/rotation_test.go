package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/controller/ledger"
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
func (m *mesh) rotate(to peers.Generation) {
	m.t.Helper()
	var v wire.RotationView
	out := m.must(lab.DefaultController, "rotate", "--reason", "test", "-o", "json")
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

// secret is something that must be destroyed.
type secret struct{ what, text string }

// secrets are the private keys of all hosts as they are on disk.
func (m *mesh) secrets() (out []secret) {
	m.t.Helper()
	for _, h := range m.Members() {
		m.eachFile(h, func(path string, content []byte) {
			if _, key, ok := bytes.Cut(content, []byte("\n")); ok && strings.HasPrefix(filepath.Base(path), "key-") {
				out = append(out, secret{h.Name() + " " + filepath.Base(path), strings.TrimSpace(string(key))})
			}
		})
	}
	if len(out) != len(m.Members()) {
		m.t.Fatalf("%d private keys of %d hosts are found", len(out), len(m.Members()))
	}
	return out
}

// nowhere waits until none of the secrets is in any file of any host.
func (m *mesh) nowhere(secrets []secret) {
	m.t.Helper()
	found := ""
	defer func() {
		if m.t.Failed() {
			m.t.Log(found)
		}
	}()
	until(m.t, patience, "old secrets are nowhere", func() bool {
		found = ""
		for _, h := range m.lab.Hosts() {
			m.eachFile(h, func(path string, content []byte) {
				for _, s := range secrets {
					if bytes.Contains(content, []byte(s.text)) {
						found += fmt.Sprintf("%s is in %s of %s\n", s.what, path, h.Name())
					}
				}
			})
		}
		return found == ""
	})
}

// secretOf is the secret of a generation, from a copy of the controller's database.
func (m *mesh) secretOf(g peers.Generation) secret {
	m.t.Helper()
	raw, err := os.ReadFile(m.lab.Host(lab.DefaultController).Path(database))
	if err != nil {
		m.t.Fatal(err)
	}
	path := filepath.Join(m.t.TempDir(), "copy.db")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		m.t.Fatal(err)
	}
	db, err := ledger.Open(path, ledger.Options{MustExist: true})
	if err != nil {
		m.t.Fatal(err)
	}
	defer db.Close()
	name := fmt.Sprintf("generation/%d", g)
	value, err := db.Fetch(m.t.Context(), name)
	if err != nil || !bytes.Contains(raw, value) {
		m.t.Fatalf("%s is not to be found: %v", name, err)
	}
	return secret{name, string(value)}
}

// eachFile visits the files in the data directories of a host.
func (m *mesh) eachFile(h *lab.Host, visit func(path string, content []byte)) {
	m.t.Helper()
	for _, dir := range []string{"/var/lib/warren-agent", "/var/lib/warren-controller"} {
		entries, err := os.ReadDir(h.Path(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			m.t.Fatal(err)
		}
		for _, e := range entries {
			content, err := os.ReadFile(filepath.Join(h.Path(dir), e.Name()))
			switch {
			case errors.Is(err, fs.ErrNotExist): // a temporary one
			case err != nil:
				m.t.Fatal(err)
			default:
				visit(filepath.Join(dir, e.Name()), content)
			}
		}
	}
}
