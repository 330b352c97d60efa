package lab_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/lab/labtest"
)

// stock is a LAN with two gateways, and a till that is only on it and takes all to an address that nobody has.
func stock(t *testing.T) (l *lab.Lab, gw1, gw2, till *lab.Host) {
	t.Helper()
	link := func(number string) lab.LANLink {
		return lab.LANLink{Segment: "stock", Addresses: []netip.Prefix{
			netip.MustParsePrefix("10.20.0." + number + "/24"), netip.MustParsePrefix("fd20::" + number + "/64"),
		}}
	}
	only := link("9")
	only.Only, only.Via = true, []netip.Addr{netip.MustParseAddr("10.20.0.1"), netip.MustParseAddr("fd20::1")}
	l = labtest.New(t, lab.Topology{LANs: []string{"stock", "empty"}, Hosts: []lab.HostSpec{
		{Name: "till", LAN: only},
		{Name: "gw1", Site: "warehouse", LAN: link("2")},
		{Name: "gw2", Site: "warehouse", LAN: link("3")},
		{Name: "shop"},
	}})
	return l, l.Host("gw1"), l.Host("gw2"), l.Host("till")
}

func TestLANJoinsItsHosts(t *testing.T) {
	l, gw1, gw2, till := stock(t)
	startReady(t, gw1, "echo")
	startReady(t, l.Host("shop"), "echo")
	for _, from := range []*lab.Host{till, gw2} {
		for _, c := range []struct {
			network   string
			to, shown netip.Addr
		}{
			{"tcp4", gw1.LANIPv4(), from.LANIPv4()},
			{"udp4", gw1.LANIPv4(), from.LANIPv4()},
			{"tcp6", gw1.LANIPv6(), from.LANIPv6()},
			{"udp6", gw1.LANIPv6(), from.LANIPv6()},
		} {
			if seen, err := reach(t, from, c.network, c.to, "10s"); err != nil || seen != c.shown.String() {
				t.Errorf("%s from %s to %v: seen as %q (%v), want %v", c.network, from.Name(), c.to, seen, err, c.shown)
			}
		}
	}
	if seen, err := reach(t, gw2, "tcp4", l.Host("shop").IPv4(), "10s"); err != nil || seen != gw2.IPv4().String() {
		t.Errorf("on a LAN, a host is seen on the internet as %q (%v)", seen, err)
	}
	if gw1.Site() != "warehouse" || l.Host("shop").Site() != "shop" {
		t.Errorf("the sites are %q and %q", gw1.Site(), l.Host("shop").Site())
	}
}

// TestHostOnlyOnALAN has no way to the internet but by a gateway, whoever has its address.
func TestHostOnlyOnALAN(t *testing.T) {
	l, _, gw2, till := stock(t)
	if till.OnInternet() || till.IPv4().IsValid() || till.IPv6().IsValid() {
		t.Errorf("it is on the internet, as %v and %v", till.IPv4(), till.IPv6())
	}
	if err := till.Do(func() error {
		links, err := net.Interfaces()
		if len(links) != 2 || links[0].Name != "lo" || links[1].Name != lab.LANName {
			t.Errorf("it has the links %v", links)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	hop := netip.MustParseAddr("10.20.0.1")
	if got := nextHop(t, till, l.Host("shop").IPv4()); got != hop {
		t.Errorf("its next hop is %v, want %v", got, hop)
	}
	startReady(t, gw2, "echo")
	if out, err := reach(t, till, "tcp4", hop, "300ms"); err == nil {
		t.Errorf("an address that nobody has answers %q", out)
	}
	give(t, gw2, hop)
	eventually(t, "the address answers once somebody has it", func() bool {
		_, err := reach(t, till, "tcp4", hop, "1s")
		return err == nil
	})
}

// give gives a host one more address on its LAN.
func give(t *testing.T, h *lab.Host, a netip.Addr) {
	t.Helper()
	if err := h.Do(func() error {
		link, err := netlink.LinkByName(lab.LANName)
		if err != nil {
			return err
		}
		address, err := netlink.ParseAddr(a.String() + "/32")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(link, address)
	}); err != nil {
		t.Fatal(err)
	}
}

func TestLANFaults(t *testing.T) {
	_, gw1, gw2, till := stock(t)
	startReady(t, gw1, "echo")
	startReady(t, gw2, "echo")
	for _, c := range []struct {
		name    string
		fault   func() error
		carrier bool
	}{{"pulled", gw1.PullLAN, false}, {"cut", gw1.CutLAN, true}, {"pulled again", gw1.PullLAN, false}} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 {
				if err := c.fault(); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "the carrier follows", func() bool { return carrier(t, gw1) == c.carrier })
			if out, err := reach(t, till, "udp4", gw1.LANIPv4(), "300ms"); err == nil {
				t.Errorf("it answers %q", out)
			}
			if _, err := reach(t, gw1, "udp6", gw2.LANIPv6(), "300ms"); err == nil {
				t.Error("it reaches others on the LAN")
			}
			if out, err := reach(t, till, "udp4", gw2.LANIPv4(), "10s"); err != nil {
				t.Errorf("others on the LAN do not reach each other: %v %s", err, out)
			}
		})
	}
	if err := gw1.Reboot(); err != nil {
		t.Fatal(err)
	}
	startReady(t, gw1, "echo")
	if carrier(t, gw1) {
		t.Error("the fault has not stayed through a reboot")
	}
	if err := gw1.RestoreLAN(); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"udp4", "udp6"} {
		to := map[string]netip.Addr{"udp4": gw1.LANIPv4(), "udp6": gw1.LANIPv6()}[network]
		eventually(t, network+" works again", func() bool {
			_, err := reach(t, till, network, to, "1s")
			return err == nil
		})
	}
}

// carrier reports whether a host's LAN link has one.
func carrier(t *testing.T, h *lab.Host) (has bool) {
	t.Helper()
	if err := h.Do(func() error {
		link, err := netlink.LinkByName(lab.LANName)
		if err == nil {
			has = link.Attrs().OperState == netlink.OperUp
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return has
}

func TestDeleteLink(t *testing.T) {
	_, gw1, _, _ := stock(t)
	if err := gw1.DeleteLink(lab.LANName); err != nil {
		t.Fatal(err)
	}
	if err := gw1.DeleteLink(lab.LANName); err == nil {
		t.Error("it is deleted twice")
	}
}

func TestPowerOff(t *testing.T) {
	l, gw1, gw2, till := stock(t)
	daemon := startReady(t, gw1, "echo")
	startReady(t, gw2, "echo")
	if err := gw1.PowerOff(); err != nil {
		t.Fatal(err)
	}
	<-daemon.Done()
	if err := l.OnLAN("stock", func() error {
		links, err := netlink.LinkList()
		for _, link := range links {
			if link.Attrs().Name == "gw1" {
				t.Error("the LAN's port is still there")
			}
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if out, err := reach(t, till, "udp4", gw1.LANIPv4(), "300ms"); err == nil {
		t.Errorf("it answers %q", out)
	}
	if out, err := gw1.Command(t.Context(), "true").CombinedOutput(); err == nil {
		t.Errorf("a command runs on a host that is off: %s", out)
	}
	if err := gw1.CutLAN(); err != nil {
		t.Errorf("a fault of a host that is off: %v", err)
	}
	if err := gw1.PowerOff(); err != nil {
		t.Errorf("switching it off twice: %v", err)
	}
	if err := gw1.Reboot(); err != nil {
		t.Fatal(err)
	}
	startReady(t, gw1, "echo")
	if out, err := reach(t, till, "udp4", gw1.LANIPv4(), "300ms"); err == nil {
		t.Errorf("cut while it was off, it answers %q", out)
	}
	if err := gw1.RestoreLAN(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it answers again", func() bool {
		_, err := reach(t, till, "udp4", gw1.LANIPv4(), "1s")
		return err == nil
	})
}

func TestCrash(t *testing.T) {
	_, gw1, gw2, till := stock(t)
	daemon := startReady(t, gw1, "echo")
	startReady(t, gw2, "echo")
	if err := gw1.Crash(); err != nil {
		t.Fatal(err)
	}
	<-daemon.Done()
	if len(gw1.Daemons()) != 0 {
		t.Error("its daemons are still listed")
	}
	if _, err := netlink.LinkByName("gw1"); err != nil {
		t.Errorf("the router's link to it: %v", err)
	}
	for _, to := range []netip.Addr{gw1.LANIPv4(), gw1.LANIPv6()} {
		if out, err := gw1.Command(t.Context(), self, roleMark+"probe", "udp", to.String(), "300ms").Output(); err == nil {
			t.Errorf("a process of it answers: %s", out)
		}
		if out, err := reach(t, gw2, "udp", to, "300ms"); err == nil {
			t.Errorf("it answers %q", out)
		}
	}
	if err := gw1.Reboot(); err != nil {
		t.Fatal(err)
	}
	startReady(t, gw1, "echo")
	eventually(t, "it answers again", func() bool {
		_, err := reach(t, till, "udp4", gw1.LANIPv4(), "1s")
		return err == nil
	})
}
