package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/lab/labtest"
	"github.com/warren-mesh/warren/peers/wire"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// patience is for what takes a moment; a loaded machine may take long.
const patience = 60 * time.Second

// A mesh is a lab with a controller and agents on it.
type mesh struct {
	*lab.Mesh
	t   testing.TB
	lab *lab.Lab
}

func newLab(t testing.TB, members ...string) *lab.Lab { return newLabOf(t, "../../../bin", members...) }

// newLabOf has the programs of a folder on its hosts.
func newLabOf(t testing.TB, folder string, members ...string) *lab.Lab {
	t.Helper()
	bin, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	topology := lab.Topology{Bin: bin, Hosts: []lab.HostSpec{{Name: lab.DefaultController}}}
	for _, name := range members {
		topology.Hosts = append(topology.Hosts, lab.HostSpec{Name: name})
	}
	return labtest.New(t, topology)
}

// newMesh starts controller and agents, and enrols nobody.
func newMesh(t testing.TB, members ...string) *mesh { return newMeshOf(t, "../../../bin", members...) }

func newMeshOf(t testing.TB, folder string, members ...string) *mesh {
	t.Helper()
	l := newLabOf(t, folder, members...)
	lm, err := lab.NewMesh(l, lab.MeshOptions{Progress: func(line string) { t.Log(line) }})
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{Mesh: lm, t: t, lab: l}
	ctx := m.patient()
	if _, err := m.StartController(ctx); err != nil {
		t.Fatal(err)
	}
	for _, name := range members {
		if _, err := m.StartAgent(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// startMesh is newMesh with all members enrolled.
func startMesh(t testing.TB, members ...string) *mesh {
	return startMeshOf(t, "../../../bin", members...)
}

func startMeshOf(t testing.TB, folder string, members ...string) *mesh {
	t.Helper()
	m := newMeshOf(t, folder, members...)
	for _, name := range members {
		if err := m.Enrol(m.patient(), name, name); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *mesh) patient() context.Context {
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	m.t.Cleanup(cancel)
	return ctx
}

// run runs warren on a host and gives what it printed and its exit code.
func (m *mesh) run(host string, args ...string) (stdout, stderr string, code int) {
	m.t.Helper()
	cmd := m.Warren(m.patient(), host, args...)
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatalf("warren %v on %s: %v", args, host, err)
	}
	return out.String(), diag.String(), cmd.ProcessState.ExitCode()
}

// must is run for what has to exit with 0.
func (m *mesh) must(host string, args ...string) string {
	m.t.Helper()
	out, diag, code := m.run(host, args...)
	if code != 0 {
		m.t.Fatalf("warren %v on %s: exit code %d\n%s%s", args, host, code, out, diag)
	}
	return out
}

// failure is the error of a command that was run with -o json and must fail.
type failure struct{ Code, Message, Hint string }

func (m *mesh) fails(host string, args ...string) failure {
	m.t.Helper()
	out, diag, code := m.run(host, append(args, "-o", "json")...)
	if code == 0 {
		m.t.Fatalf("warren %v on %s was accepted:\n%s", args, host, out)
	}
	var doc struct{ Error failure }
	if err := json.Unmarshal([]byte(out), &doc); err != nil || doc.Error.Code == "" {
		m.t.Fatalf("warren %v on %s: exit code %d without a JSON error (%v):\n%s%s", args, host, code, err, out, diag)
	}
	return doc.Error
}

func (m *mesh) status(host string) wire.Status {
	m.t.Helper()
	out, diag, code := m.run(host, "status", "-o", "json")
	var s wire.Status
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		m.t.Fatalf("warren status -o json on %s: exit code %d, %v:\n%s%s", host, code, err, out, diag)
	}
	return s
}

func (m *mesh) hosts() map[string]wire.HostView {
	m.t.Helper()
	var list []wire.HostView
	if err := json.Unmarshal([]byte(m.must(lab.DefaultController, "host", "ls", "-o", "json")), &list); err != nil {
		m.t.Fatalf("warren host ls -o json: %v", err)
	}
	out := map[string]wire.HostView{}
	for _, h := range list {
		out[h.Name] = h
	}
	return out
}

// until waits for a condition.
func until(t testing.TB, within time.Duration, what string, is func() bool) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline:
			t.Fatalf("not within %v: %s", within, what)
		case <-tick.C:
		}
	}
}

// allUp waits until every member sees that many peers up.
func (m *mesh) allUp(peers int) {
	m.t.Helper()
	for _, h := range m.Members() {
		until(m.t, patience, h.Name()+" has all peers up", func() bool { return m.up(h.Name()) == peers })
	}
}

func (m *mesh) up(host string) int {
	n := 0
	for _, p := range m.status(host).Peers {
		if p.State == wire.PeerUp {
			n++
		}
	}
	return n
}
