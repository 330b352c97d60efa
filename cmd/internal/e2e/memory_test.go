package e2e

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers/wire"
)

// A damage is done to a file.
type damage struct {
	name string
	how  func([]byte) []byte
}

func damages() []damage {
	return []damage{
		{"empty", func([]byte) []byte { return nil }},
		{"half", func(b []byte) []byte { return b[:len(b)/2] }},
		{"one bit", func(b []byte) []byte { b[len(b)-3] ^= 4; return b }},
	}
}

// restartWith kills the agent of a host, damages a file of it and starts it again, and gives what is in the file
// then. Traffic flows throughout.
func (m *mesh) restartWith(tr *traffic, host, file string, how func([]byte) []byte) (path string, bad []byte) {
	m.t.Helper()
	path = m.lab.Host(host).Path(agentData + file)
	good, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.Agent(host).Kill(); err != nil {
		m.t.Fatal(err)
	}
	bad = how(bytes.Clone(good))
	write(m.t, path, bad)
	if _, err := m.StartAgent(m.patient(), host); err != nil {
		m.t.Fatal(err)
	}
	tr.more(10)
	m.t.Cleanup(func() { write(m.t, path, good) })
	return path, bad
}

// damagedIdentity tries to enrol a host that is no member and whose identity is damaged.
func damagedIdentity(m *mesh, host, token string) {
	m.t.Helper()
	path := m.lab.Host(host).Path(agentData + "identity")
	good, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	bad := good[:len(good)/2]
	for _, restart := range []bool{false, true} {
		write(m.t, path, bad)
		if restart {
			m.restart(host)
		}
		m.refused(1, "identity-damaged", host, "enroll", token)
		m.unchanged(path, bad)
	}
	write(m.t, path, good)
	m.restart(host)
}

func (m *mesh) restart(host string) {
	m.t.Helper()
	if err := m.Agent(host).Kill(); err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.StartAgent(m.patient(), host); err != nil {
		m.t.Fatal(err)
	}
}

// TestDamagedMemory damages each file of an agent, with the controller away: the tunnels stay, the host says what is
// wrong, and nothing is replaced that cannot be made again.
func TestDamagedMemory(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	token, _ := m.token("--site", "shop")
	// Another plan, so that there is one before it, which is all but the same.
	m.must(lab.DefaultController, "mesh", "set", "keepalive=20")
	at := m.revision()
	until(t, patience, "the plan has come", func() bool { return m.status("shop").Revision == at })
	until(t, patience, "the plan is kept", func() bool {
		kept, err := os.ReadFile(m.lab.Host("shop").Path(agentData + "plan"))
		return err == nil && bytes.Contains(kept, fmt.Appendf(nil, `"revision":%d,`, at))
	})
	if err := m.Controller().Kill(); err != nil {
		t.Fatal(err)
	}
	tr := flow(t, m.lab.Host("shop"), m.lab.Host("warehouse"), m.status("warehouse").Address)
	for _, c := range damages() {
		t.Run("plan "+c.name, func(t *testing.T) {
			m := m.in(t)
			m.restartWith(tr, "shop", "plan", c.how)
			s := m.status("shop")
			if !hasProblem(s, "plan-previous") || len(s.Peers) != 1 || s.Revision >= at || s.State == wire.StateDown {
				t.Errorf("with a damaged plan: %+v", s)
			}
			tr.more(10)
		})
	}
	for file, code := range map[string]string{
		"identity": "already-enrolled", "membership": "membership-damaged", "key-1": "already-enrolled",
	} {
		for _, c := range damages() {
			t.Run(file+" "+c.name, func(t *testing.T) {
				m := m.in(t)
				path, bad := m.restartWith(tr, "shop", file, c.how)
				s := m.status("shop")
				if !hasProblem(s, "-damaged") || len(s.Interfaces) != 1 || s.Peers[0].State != wire.PeerUp {
					t.Errorf("with a damaged %s: %+v", file, s)
				}
				t.Logf("%s: %+v", s.State, s.Problems)
				m.refused(1, code, "shop", "enroll", token)
				m.unchanged(path, bad)
			})
		}
	}
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	m.restart("shop")
	until(t, patience, "all is well with the files as they were", func() bool {
		s := m.status("shop")
		return s.State == wire.StateOK && len(s.Problems) == 0 && s.Revision == m.revision()
	})
	if sent, lost := tr.end(); lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	if hosts := m.hosts(); len(hosts) != 2 {
		t.Errorf("the controller knows the hosts %v", hosts)
	}
}
