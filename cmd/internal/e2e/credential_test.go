package e2e

import (
	"errors"
	"os"
	"testing"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// TestHostEnrolsItself: a host whose unit gives it a token is a member without anybody typing, waits for
// its tunnels as other units do, and lives on with the token being worthless and the controller gone.
func TestHostEnrolsItself(t *testing.T) {
	l := newLab(t, "shop", "warehouse")
	lm, err := lab.NewMesh(l, lab.MeshOptions{Progress: func(line string) { t.Log(line) }})
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{Mesh: lm, t: t, lab: l}
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"shop", "warehouse"} {
		token, err := m.Token(m.patient(), "--site", name, "--name", name)
		if err != nil {
			t.Fatal(err)
		}
		file := l.Host(name).Path("/run/credentials/warren.token")
		if err := errors.Join(os.MkdirAll(l.Host(name).Path("/run/credentials"), 0o700),
			os.WriteFile(file, []byte(token+"\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
		m.selfEnrolling(name)
	}
	for _, name := range []string{"shop", "warehouse"} {
		m.must(name, "status", "--wait", "--timeout", "50s")
	}
	if s := m.status("shop"); s.Host != "shop" || len(s.Peers) != 1 {
		t.Errorf("the shop is %+v", s)
	}

	if err := m.Controller().Kill(); err != nil {
		t.Fatal(err)
	}
	for _, d := range l.Host("shop").Daemons() {
		if err := d.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	m.selfEnrolling("shop")
	m.must("shop", "status", "--wait", "--timeout", "50s")
	if s := m.status("shop"); s.Controller.Connected || len(s.Problems) != 1 || !hasProblem(s, "controller") {
		t.Errorf("with a worthless token and no controller: %+v, problems %+v", s.Controller, s.Problems)
	}
}

// selfEnrolling starts an agent with a token among its credentials.
func (m *mesh) selfEnrolling(name string) {
	m.t.Helper()
	d, err := m.lab.Host(name).Start("warren-agent", "env", "CREDENTIALS_DIRECTORY=/run/credentials", "warren-agent", "run")
	if err != nil {
		m.t.Fatal(err)
	}
	if err := d.Ready(m.patient()); err != nil {
		m.t.Fatal(err)
	}
}
