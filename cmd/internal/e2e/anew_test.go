package e2e

import (
	"os"
	"testing"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// TestMachineSetUpAnew loses a host's disk and enrols the machine again under its name. The others take it
// in, and say that it is not the one that they knew.
func TestMachineSetUpAnew(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	before := m.status("warehouse")
	warehouse := m.lab.Host("warehouse")
	if err := m.Agent("warehouse").Kill(); err != nil {
		t.Fatal(err)
	}
	if err := warehouse.Reboot(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(warehouse.Path("/var/lib/warren-agent")); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartAgent(m.patient(), "warehouse"); err != nil {
		t.Fatal(err)
	}
	token, err := m.Token(m.patient(), "--site", "warehouse")
	if err != nil {
		t.Fatal(err)
	}
	if f := m.fails("warehouse", "enroll", token); f.Code != "name-taken" {
		t.Errorf("a second warehouse was refused with %+v, want name-taken", f)
	}
	m.must(lab.DefaultController, "host", "rm", "warehouse")
	if out, diag, code := m.run("warehouse", "enroll", token); code != 0 && code != 3 {
		t.Fatalf("enrol anew: exit code %d\n%s%s", code, out, diag)
	}
	until(t, patience, "the tunnel is up again", func() bool { return m.up("shop") == 1 && m.up("warehouse") == 1 })
	after := m.status("warehouse")
	if after.ID == before.ID || after.Address == before.Address {
		t.Errorf("the new machine has id %s and address %v of the old one", after.ID, after.Address)
	}
	if s := m.status("shop"); !hasProblem(s, "peer-identity-changed") {
		t.Errorf("the shop does not tell that warehouse is another machine: %+v", s.Problems)
	}
}
