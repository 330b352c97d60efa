package e2e

import (
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestPortOfNewGenerationTaken: a program has the port of the next generation's interface when the agent starts. That is
// said, no other port is taken, the tunnels of the generation before lose nothing, and it heals when the program ends.
func TestPortOfNewGenerationTaken(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	shop := m.lab.Host("shop")
	old := m.status("shop").Interfaces[0]
	const next = 51820 // of the slot that generation 1 does not have
	index := linkIndex(t, shop, old.Name)
	tr := flow(t, shop, m.lab.Host("warehouse"), m.status("warehouse").Address)
	taker := listenUDP(t, shop, next)
	defer taker.Close()
	m.must(lab.DefaultController, "rotate")
	taken := func() bool { return hasProblem(m.status("shop"), "port-taken") }
	until(t, patience, "the port is missed", taken)
	m.restart("shop")
	until(t, patience, "and still at the start of an agent", taken)
	out, _, code := m.run("shop", "status")
	if code != 3 || !strings.Contains(out, "port-taken") || !strings.Contains(out, "UDP port 51820 is taken by") ||
		!strings.Contains(out, "ss -lunp") {
		t.Errorf("status, exit code %d:\n%s", code, out)
	}
	s := m.status("shop")
	if now := s.Interfaces[0]; now.Name != old.Name || now.Port != old.Port || m.up("shop") != 1 {
		t.Errorf("the tunnels that were there: %+v", s)
	}
	if isUp(t, shop, "wrn0") {
		t.Error("the interface is up without its port")
	}
	tr.more(50)
	if now := linkIndex(t, shop, old.Name); now != index {
		t.Errorf("the interface had index %d and has %d", index, now)
	}
	if err := taker.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, healsWithin, "the port is ours", func() bool { return !taken() })
	until(t, patience, "the rotation is over", func() bool {
		s := m.status("shop")
		return s.State == wire.StateOK && len(s.Interfaces) == 1 && s.Interfaces[0].Port == next
	})
	if sent, lost := tr.end(); lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
}

// isUp is whether an interface is there and up.
func isUp(t testing.TB, h *lab.Host, name string) (up bool) {
	t.Helper()
	if err := h.Do(func() error {
		link, err := netlink.LinkByName(name)
		up = err == nil && link.Attrs().Flags&net.FlagUp != 0
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return up
}
