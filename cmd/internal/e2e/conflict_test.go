package e2e

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers/wire"
)

// yieldsWithin is how long a mesh may be in the way of a network that comes up on a host.
const yieldsWithin = 2 * time.Second

// TestNetworkComesLater gives a member a network that the mesh has, then takes it away again. The host's own wins at
// once, which is said, what is not in conflict loses nothing, and all comes back.
func TestNetworkComesLater(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	shop := m.lab.Host("shop")
	far := m.status("warehouse")
	tr := flow(t, shop, m.lab.Host("warehouse"), far.Address6)
	tr.more(20)
	before := settledSnapshot(t, shop)
	if dev := wayTo(t, shop, far.Address); !strings.HasPrefix(dev, "wrn") {
		t.Fatalf("%v is reached by %s", far.Address, dev)
	}
	lan := netip.PrefixFrom(netip.MustParseAddr("10.90.0.77"), 24)
	if err := shop.Do(func() error { return addDummy("lan0", lan) }); err != nil {
		t.Fatal(err)
	}
	until(t, yieldsWithin, "the host's own network wins", func() bool { return wayTo(t, shop, far.Address) == "lan0" })
	until(t, yieldsWithin, "the mesh address is gone, too", func() bool {
		return !strings.Contains(snapshot(t, shop), "address 10.90.0.1/32")
	})
	s := m.status("shop")
	if !hasProblem(s, "route-conflict") || s.State != wire.StateDegraded || !strings.Contains(s.Problems[0].Hint, "lan0") {
		t.Errorf("state %s, problems %+v", s.State, s.Problems)
	}
	if _, _, code := m.run("shop", "status"); code != 3 {
		t.Errorf("exit code %d of warren status", code)
	}
	// With the network there from the start, the plan on disk takes nothing of it either.
	if err := m.Controller().Kill(); err != nil {
		t.Fatal(err)
	}
	if err := m.Agent("shop").Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
		t.Fatal(err)
	}
	if dev := wayTo(t, shop, far.Address); dev != "lan0" {
		t.Errorf("after a restart %v is reached by %s", far.Address, dev)
	}
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	if err := shop.Do(func() error { return onLink(netlink.LinkDel)("lan0") }); err != nil {
		t.Fatal(err)
	}
	until(t, yieldsWithin, "the mesh is back", func() bool { return strings.HasPrefix(wayTo(t, shop, far.Address), "wrn") })
	until(t, patience, "all is well", func() bool { return m.status("shop").State == wire.StateOK })
	same(t, "afterwards", before, settledSnapshot(t, shop))
	if sent, lost := tr.end(); lost != 0 {
		t.Errorf("%d of %d packets in the other family lost", lost, sent)
	}
}

// wayTo is the interface by which a host reaches an address.
func wayTo(t testing.TB, h *lab.Host, to netip.Addr) (name string) {
	t.Helper()
	if err := h.Do(func() error {
		routes, _ := netlink.RouteGet(net.IP(to.AsSlice())) // fails where it leads nowhere
		if len(routes) == 0 {
			return nil
		}
		link, err := netlink.LinkByIndex(routes[0].LinkIndex)
		if err == nil {
			name = link.Attrs().Name
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return name
}

func addDummy(name string, address netip.Prefix) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return err
	}
	return onLink(func(link netlink.Link) error {
		a, err := netlink.ParseAddr(address.String())
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, a); err != nil {
			return err
		}
		return netlink.LinkSetUp(link)
	})(name)
}
