package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/lab/labtest"
	"github.com/warren-mesh/warren/peers/wire"
)

// exampleMesh has the hosts that the files in docs speak of, and the ERP on the LAN of the warehouse.
func exampleMesh(t *testing.T) *mesh {
	t.Helper()
	bin, err := filepath.Abs("../../../bin")
	if err != nil {
		t.Fatal(err)
	}
	stock := func(address string) lab.LANLink {
		return lab.LANLink{Segment: "stock", Addresses: []netip.Prefix{netip.MustParsePrefix(address + "/24")}}
	}
	erp := stock(erpAddress)
	erp.Only, erp.Via = true, []netip.Addr{netip.MustParseAddr(virtualIP)}
	l := labtest.New(t, lab.Topology{Bin: bin, LANs: []string{"stock"}, Hosts: []lab.HostSpec{
		{Name: lab.DefaultController},
		{Name: "shop"},
		{Name: "till-3", Site: "shop"},
		{Name: "wh-gw1", Site: "warehouse", LAN: stock("10.20.0.2")},
		{Name: "wh-gw2", Site: "warehouse", LAN: stock("10.20.0.3")},
		{Name: "books", Site: "accounting"},
		{Name: "erp", LAN: erp},
	}})
	m := &mesh{t: t, lab: l}
	if m.Mesh, err = lab.StartMesh(m.patient(), l, lab.MeshOptions{Progress: func(line string) { t.Log(line) }}); err != nil {
		t.Fatal(err)
	}
	m.allUp(4)
	return m
}

// example puts a file of docs on the controller's host, as it is shipped.
func (m *mesh) example(name string) string {
	m.t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", name))
	if err != nil {
		m.t.Fatal(err)
	}
	return m.file(name, string(raw))
}

// TestExamples applies the files that are shipped as examples to a mesh as they describe it. What they say holds then,
// on the wire as well.
func TestExamples(t *testing.T) {
	if _, err := os.Stat("../../../docs"); os.IsNotExist(err) {
		t.Skip("a VM that runs this has the programs alone")
	}
	m := exampleMesh(t)
	admin, whole := lab.DefaultController, m.example("mesh.yaml")
	revision := m.revision()
	out := m.must(admin, "apply", "-f", whole, "--dry-run")
	for _, says := range []string{"site warehouse", "lan_check", "host till-3", "hosts are concerned", "Nothing was changed"} {
		if !strings.Contains(out, says) {
			t.Errorf("the dry run says nothing of %q:\n%s", says, out)
		}
	}
	if now := m.revision(); now != revision {
		t.Errorf("a dry run went from revision %d to %d", revision, now)
	}
	m.must(admin, "apply", "-f", whole, "--yes", "--confirm-within", "2m")
	m.must(admin, "apply", "--confirm")
	for _, file := range []string{whole, m.file("export.yaml", m.must(admin, "export"))} {
		if out := m.must(admin, "apply", "-f", file, "--yes"); !strings.Contains(out, "Nothing differs.") {
			t.Errorf("%s applied again changes something:\n%s", file, out)
		}
	}
	m.acts("wh-gw1", "shop", "till-3", "books", "wh-gw1", "wh-gw2")
	until(t, patience, "wh-gw1 has the virtual address", func() bool { return m.holdsVirtual("wh-gw1") })
	m.lanCheck("wh-gw1", erpAddress, wire.LANAnswers)
	m.lanCheck("wh-gw2", erpAddress, wire.LANAnswers)

	erp := m.lab.Host("erp")
	orders, books := netip.AddrPortFrom(netip.MustParseAddr(erpAddress), 5432), netip.AddrPortFrom(netip.MustParseAddr(erpAddress), 8000)
	listen(t, erp, orders)
	listen(t, erp, books)
	m.gets(orders, "shop", "till-3")
	m.gets(books, "books")
	m.getsNot(orders, "books")
	m.getsNot(books, "shop", "till-3")

	policy := m.example("policy.yaml")
	if out := m.must(admin, "policy", "check", policy); !strings.Contains(out, "Nothing was changed") {
		t.Errorf("of the policy it says\n%s", out)
	}
	m.must(admin, "policy", "apply", policy)
	m.gets(orders, "till-3")
	until(t, patience, "the shop does not get there any more", func() bool { return !m.connects("shop", orders) })
}

// connects reports whether a host gets a TCP connection.
func (m *mesh) connects(from string, to netip.AddrPort) bool {
	c, err := dial(m.lab.Host(from), to)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

// gets waits until each of the hosts gets a TCP connection.
func (m *mesh) gets(to netip.AddrPort, hosts ...string) {
	m.t.Helper()
	for _, from := range hosts {
		until(m.t, patience, from+" reaches "+to.String(), func() bool { return m.connects(from, to) })
	}
}

// getsNot looks whether any of the hosts gets a TCP connection, once the policy is in force.
func (m *mesh) getsNot(to netip.AddrPort, hosts ...string) {
	m.t.Helper()
	for _, from := range hosts {
		if m.connects(from, to) {
			m.t.Errorf("%s reaches %v", from, to)
		}
	}
}
