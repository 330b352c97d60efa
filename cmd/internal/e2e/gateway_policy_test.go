package e2e

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
)

// pours has a host send without end over each connection to a TCP port, and listen to nothing.
func pours(t testing.TB, h *lab.Host, at netip.AddrPort) {
	t.Helper()
	serve(t, h, at.String(), func(c net.Conn) {
		defer func() { _ = c.Close() }()
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := c.Write([]byte("an entry of the books")); err != nil {
				return
			}
		}
	})
}

// drink counts what comes over a connection.
func drink(c net.Conn) *atomic.Int64 {
	var n atomic.Int64
	go func() {
		buf := make([]byte, 4096)
		for {
			m, err := c.Read(buf)
			n.Add(int64(m))
			if err != nil {
				return
			}
		}
	}()
	return &n
}

// TestDrainUnderPolicy: what a policy allows goes on through the other gateway, also connections that are open, in whose
// direction ever; what it does not allow stays closed.
func TestDrainUnderPolicy(t *testing.T) {
	m := twoGateways(t)
	till, erp := m.lab.Host("till"), m.lab.Host("erp")
	atERP := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(erpAddress), port) }
	atTill := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("10.10.0.7"), port) }
	for _, port := range []uint16{22, 5432} {
		listen(t, erp, atERP(port))
	}
	listen(t, till, atTill(22))
	pours(t, till, atTill(8000))
	m.applied(m.policy(`
flows:
  - {from: site:shop, to: site:warehouse, allow: [tcp/5432, udp]}
  - {from: site:warehouse, to: site:shop, allow: tcp/8000}
`).Revision)
	closed := func(when string) {
		t.Helper()
		for name, try := range map[string]func() (net.Conn, error){
			"to the warehouse": func() (net.Conn, error) { return dial(till, atERP(22)) },
			"to the shop":      func() (net.Conn, error) { return dial(erp, atTill(22)) },
		} {
			if c, err := try(); err == nil {
				_ = c.Close()
				t.Errorf("%s: what the policy does not allow passes %s", when, name)
			}
		}
	}
	closed("before")
	orders, err := dial(till, atERP(5432))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = orders.Close() }()
	books, err := dial(erp, atTill(8000))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = books.Close() }()
	came := drink(books)
	packets := flowAt(t, till, erp, netip.MustParseAddr(erpAddress), 200)
	goesOn := func() {
		t.Helper()
		if !echoes(orders, patience) {
			t.Error("the connection from the shop is broken")
		}
		have := came.Load()
		until(t, patience, "the connection from the warehouse goes on", func() bool { return came.Load() > have+1000 })
	}
	goesOn()
	m.must(lab.DefaultController, "host", "drain", "wh1", "--wait")
	m.acts("wh2", "shop", "wh1", "wh2")
	until(t, patience, "wh2 has the virtual address", func() bool { return m.holdsVirtual("wh2") && !m.holdsVirtual("wh1") })
	goesOn()
	closed("after")
	if again, err := dial(till, atERP(5432)); err != nil {
		t.Error("a new connection:", err)
	} else {
		_ = again.Close()
	}
	packets.more(100)
	if sent, lost := packets.end(); lost > 0 {
		t.Errorf("lost %d of %d, sent at %v", lost, sent, packets.losses(20))
		for _, h := range []string{"shop", "wh1", "wh2"} {
			t.Logf("what %s has dropped:\n%s", h, m.nft(h, "list", "counters", "table", "inet", "warren"))
		}
	}
	if _, err := io.WriteString(orders, "the last one"); err != nil {
		t.Error(err)
	}
	m.withoutGuard("wh2")
	m.gets(atERP(22), "till") // else nothing was closed by the guard
}

// TestGatewayIsRestored: a gateway that has the virtual address and sends packets a second time leaves the mesh, another
// one is killed and cleaned. Both hosts are as they were before.
func TestGatewayIsRestored(t *testing.T) {
	l := labOfGateways(t, 2)
	before := map[string]string{}
	for _, name := range []string{"wh1", "wh2"} {
		before[name] = snapshot(t, l.Host(name))
	}
	m := gatewaysOn(t, l, 2)
	leaves := func(name string) *leaver { return &leaver{mesh: m, t: t, host: l.Host(name), before: before[name]} }
	m.must(lab.DefaultController, "host", "drain", "wh1")
	until(t, patience, "wh1 sends packets a second time", func() bool {
		return strings.Contains(ruleset(t, l.Host("wh1")), peers.DoubleTable)
	})
	if f := m.fails("wh1", "leave"); f.Code == "" {
		t.Errorf("%+v", f)
	}
	m.must("wh1", "leave", "--force")
	leaves("wh1").left()
	leaves("wh1").stopped()

	until(t, patience, "wh2 has the virtual address", func() bool { return m.holdsVirtual("wh2") })
	if err := m.Agent("wh2").Kill(); err != nil {
		t.Fatal(err)
	}
	leaves("wh2").clean()
}
