package e2e

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	database  = "/var/lib/warren-controller/warren.db"
	agentData = "/var/lib/warren-agent/"
)

// TestControllerDoesNotStart: what keeps a controller from starting is said in a line, with what helps, and the
// one that runs is not disturbed.
func TestControllerDoesNotStart(t *testing.T) {
	m := newMesh(t)
	host := m.lab.Host(lab.DefaultController)
	for _, dir := range []string{"/var/lib/readonly", "/var/lib/fresh"} {
		if err := os.Mkdir(host.Path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(host.Path("/var/lib/file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var taken net.Listener
	if err := host.Do(func() (err error) {
		if taken, err = net.Listen("tcp", ":7500"); err != nil {
			return err
		}
		return unix.Mount("tmpfs", "/var/lib/readonly", "tmpfs", unix.MS_RDONLY, "")
	}); err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	at := m.revision()
	for _, c := range []struct {
		name, says string
		args       []string
	}{
		{"the data directory of another", "in use by another controller", []string{"--listen", ":7501", "--socket", "/run/2.sock"}},
		{"the socket of another", "another process answers", []string{"--data-dir", "/var/lib/fresh", "--listen", ":7501"}},
		{"a port of another program", "another program has this port", []string{
			"--data-dir", "/var/lib/fresh", "--listen", ":7500", "--socket", "/run/2.sock",
		}},
		{"an address of another machine", "does not have the address", []string{
			"--data-dir", "/var/lib/fresh", "--listen", "192.0.2.99:7501", "--socket", "/run/2.sock",
		}},
		{"a file for a directory", "not a directory", []string{"--data-dir", "/var/lib/file", "--socket", "/run/2.sock"}},
		{"a read-only directory", "read-only", []string{
			"--data-dir", "/var/lib/readonly", "--listen", ":7501", "--socket", "/run/2.sock",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.in(t).stillborn(lab.DefaultController, c.says, append([]string{"warren-controller", "run"}, c.args...)...)
		})
	}
	t.Run("a full disk", func(t *testing.T) {
		defer fill(t, host)()
		m.in(t).stillborn(lab.DefaultController, "no room", "warren-controller", "run",
			"--data-dir", "/var/lib/new", "--listen", ":7501", "--socket", "/run/2.sock")
	})
	if now := m.revision(); now != at {
		t.Errorf("the running controller went from revision %d to %d", at, now)
	}
}

// TestDamagedDatabase: a controller does not start with a database that is not what was written, and leaves it
// for whoever wants to save something of it. Damage in what is not used may go unnoticed, but never changes
// what the controller says.
func TestDamagedDatabase(t *testing.T) {
	m := startMesh(t, "shop")
	if err := m.Controller().Stop(m.patient()); err != nil {
		t.Fatal(err)
	}
	path := m.lab.Host(lab.DefaultController).Path(database)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		how  func([]byte) []byte
	}{
		{"empty", func([]byte) []byte { return nil }},
		{"one page", func(b []byte) []byte { return b[:4096] }},
		{"half", func(b []byte) []byte { return b[:lastUsed(b)/2] }},
		{"without the last page in use", func(b []byte) []byte { return b[:lastUsed(b)] }},
		{"something else", func([]byte) []byte { return bytes.Repeat([]byte("not a database\n"), 10_000) }},
		{"both heads zeroed", func(b []byte) []byte { clear(b[:8192]); return b }},
	} {
		t.Run(c.name, func(t *testing.T) { m.in(t).notStarted(path, c.how(bytes.Clone(good))) })
	}
	t.Run("bits", func(t *testing.T) {
		m := m.in(t)
		flipped, noticed := 0, 0
		for at := 100; at < lastUsed(good)+4096 && at < len(good); at += 997 {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << (at % 8)
			flipped++
			if m.startsAsBefore(path, bad) {
				continue
			}
			noticed++
		}
		t.Logf("%d of %d single bits were noticed, the others are in nothing that is used", noticed, flipped)
		if noticed == 0 {
			t.Error("no damage was noticed")
		}
	})
	write(t, path, good)
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "the member is back", func() bool { return m.status("shop").State == wire.StateOK })
}

// lastUsed is where the last page with something in it begins.
func lastUsed(b []byte) int {
	end := len(bytes.TrimRight(b, "\x00"))
	return (end - 1) / 4096 * 4096
}

// write puts a file in the place of another.
func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := errors.Join(os.Remove(path), os.WriteFile(path, content, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// notStarted tries a damaged database, which must be refused and left alone.
func (m *mesh) notStarted(path string, bad []byte) {
	m.t.Helper()
	write(m.t, path, bad)
	m.stillborn(lab.DefaultController, "damaged", "warren-controller", "run")
	m.unchanged(path, bad)
}

func (m *mesh) unchanged(path string, want []byte) {
	m.t.Helper()
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, want) {
		m.t.Errorf("%s was changed (%v): %d bytes, then %d", filepath.Base(path), err, len(want), len(now))
	}
}

// startsAsBefore reports whether the controller starts with a database. If it does it must know the host; if not it
// must have said why.
func (m *mesh) startsAsBefore(path string, bad []byte) bool {
	m.t.Helper()
	write(m.t, path, bad)
	c, err := m.lab.Host(lab.DefaultController).Start("trial", "warren-controller", "run")
	if err != nil {
		m.t.Fatal(err)
	}
	before := len(c.Log())
	if err := c.Ready(m.patient()); err == nil {
		if h := m.hosts()["shop"]; h.State != "active" {
			m.t.Errorf("a damaged database gave another state of the host: %+v", h)
		}
		if err := c.Kill(); err != nil {
			m.t.Fatal(err)
		}
		return true
	}
	said := c.Log()[min(before, len(c.Log())):]
	if c.ExitCode() != 1 || strings.Contains(said, "goroutine ") {
		m.t.Errorf("exit code %d:\n%s", c.ExitCode(), said)
	}
	m.unchanged(path, bad)
	return false
}
