package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestHostRekeyLosesNothing gives both ends of a tunnel new identities while traffic flows: online, with the
// agent killed in the middle, and with the order given while the host is away.
func TestHostRekeyLosesNothing(t *testing.T) {
	m := startMesh(t, sites()...)
	m.allUp(2)
	shop, index := m.lab.Host("shop"), linkIndex(t, m.lab.Host("shop"), m.status("shop").Interfaces[0].Name)
	tr := flow(t, shop, m.lab.Host("warehouse"), m.status("warehouse").Address)
	tr.more(50)
	first := m.status("shop")

	m.must(lab.DefaultController, "host", "rekey", "shop", "--why", "as every year")
	rekeyed(t, m, "shop", first)
	second := m.status("shop")
	if second.Interfaces[0].PublicKey != first.Interfaces[0].PublicKey {
		t.Error("the WireGuard key is another one")
	}
	tr.more(50)

	m.must(lab.DefaultController, "host", "rekey", "shop")
	if err := m.Agent("shop").Kill(); err != nil { // wherever it is with it
		t.Fatal(err)
	}
	if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
		t.Fatal(err)
	}
	rekeyed(t, m, "shop", second)
	tr.more(50)

	before := m.status("warehouse")
	if err := m.Agent("warehouse").Kill(); err != nil {
		t.Fatal(err)
	}
	m.must(lab.DefaultController, "host", "rekey", "warehouse")
	tr.more(50)
	if _, err := m.StartAgent(m.patient(), "warehouse"); err != nil {
		t.Fatal(err)
	}
	rekeyed(t, m, "warehouse", before)
	tr.more(50)

	for _, h := range m.Members() {
		until(t, patience, h.Name()+" is well, and believes the others", func() bool {
			s := m.status(h.Name())
			return s.State == wire.StateOK && len(s.Problems) == 0 && m.up(h.Name()) == 2
		})
	}
	if sent, lost := tr.end(); lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	if is := linkIndex(t, shop, m.status("shop").Interfaces[0].Name); is != index {
		t.Errorf("the interface was built anew: index %d, was %d", is, index)
	}
	log := m.must(lab.DefaultController, "audit", "log")
	for _, want := range []string{
		"host shop is asked for a new identity  (as every year)",
		"host shop has a new identity, which its old one, wid1",
		"host warehouse has a new identity",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is not in the log:\n%s", want, log)
		}
	}
	if out := m.must(lab.DefaultController, "audit", "verify"); !strings.Contains(out, "The history is right") {
		t.Errorf("verify: %s", out)
	}
}

// rekeyed waits until a host has another identity than before, as it says itself and as the controller does.
func rekeyed(t *testing.T, m *mesh, name string, before wire.Status) {
	t.Helper()
	until(t, patience, name+" has a new identity", func() bool {
		s := m.status(name)
		return s.ID != before.ID && s.ID == m.hosts()[name].ID && s.Controller.Connected
	})
}

// TestControllerRekeyLosesNothing gives the controller a new identity while one agent is away for all of the
// overlap: the others go over, the one keeps its tunnels, says what is wrong, and goes on with a new token.
func TestControllerRekeyLosesNothing(t *testing.T) {
	m := startMesh(t, sites()...)
	m.allUp(2)
	tr := flow(t, m.lab.Host("shop"), m.lab.Host("accounting"), m.status("accounting").Address)
	tr.more(50)
	pin := func() string {
		var v wire.MeshView
		if err := json.Unmarshal([]byte(m.must(lab.DefaultController, "mesh", "show", "-o", "json")), &v); err != nil {
			t.Fatal(err)
		}
		return v.Pin.String()
	}
	before := pin()
	old, err := m.Token(m.patient(), "--site", "shop")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Agent("accounting").Kill(); err != nil {
		t.Fatal(err)
	}
	m.must(lab.DefaultController, "mesh", "rekey", "--overlap", "8s", "--why", "as every year")
	if err := m.Controller().Kill(); err != nil { // the overlap goes on with the next one
		t.Fatal(err)
	}
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "the overlap is over", func() bool { return pin() != before })
	for range 2 { // the first connection pins it, the second one has nothing else
		if err := m.Controller().Kill(); err != nil {
			t.Fatal(err)
		}
		if _, err := m.StartController(m.patient()); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"shop", "warehouse"} {
			until(t, patience, name+" follows the new identity", func() bool {
				s := m.status(name)
				return s.Controller.Connected && s.State == wire.StateOK
			})
		}
	}
	tr.more(50)
	if _, err := m.StartAgent(m.patient(), "accounting"); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "accounting says what is wrong", func() bool {
		s := m.status("accounting")
		return hasProblem(s, "controller-mismatch") && len(s.Peers) == 2
	})
	tr.more(50)
	if f := m.fails("accounting", "enroll", old); f.Code == "" {
		t.Error("a token with the former identity is taken")
	}
	token, err := m.Token(m.patient(), "--site", "shop")
	if err != nil {
		t.Fatal(err)
	}
	id := m.status("accounting").ID
	m.must("accounting", "enroll", token)
	until(t, patience, "accounting is well again", func() bool { return m.status("accounting").State == wire.StateOK })
	if s := m.status("accounting"); s.ID != id || s.Site != "accounting" {
		t.Errorf("accounting has become %+v", s)
	}
	if sent, lost := tr.end(); lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
}
