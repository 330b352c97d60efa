package e2e

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
)

// A claim is a datagram that says to come from the mesh and comes by a link to the internet or to a LAN.
type claim struct {
	name, from string
	as         netip.Addr
	to         string
	at         netip.Addr
}

// claims are from a stranger on the internet to the shop and, through it, to its LAN, and from that LAN to the shop: each
// as a host of the mesh, and as one of the LAN behind another gateway.
func (m *mesh) claims() []claim {
	overlay, shop, till := m.status("warehouse"), m.lab.Host("shop"), m.lab.Host("till")
	lan4, lan6 := netip.MustParseAddr(erpAddress), netip.MustParseAddr(erpAddress6)
	all := []claim{
		{"a host of the mesh", "stranger", overlay.Address, "shop", shop.IPv4()},
		{"a machine behind a gateway", "stranger", lan4, "shop", shop.IPv4()},
		{"a host of the mesh, to a LAN", "stranger", overlay.Address, "till", till.LANIPv4()},
		{"a machine behind a gateway, to a LAN", "stranger", lan4, "till", till.LANIPv4()},
		{"a host of the mesh, from a LAN", "till", overlay.Address, "shop", shop.LANIPv4()},
		{"a machine behind a gateway, from a LAN", "till", lan4, "shop", shop.LANIPv4()},
	}
	if shop.IPv6().IsValid() {
		all = append(all, claim{"a host of the mesh, IPv6", "stranger", overlay.Address6, "shop", shop.IPv6()},
			claim{"a machine behind a gateway, IPv6", "stranger", lan6, "shop", shop.IPv6()},
			claim{"a machine behind a gateway, to a LAN, IPv6", "stranger", lan6, "till", till.LANIPv6()},
			claim{"a machine behind a gateway, from a LAN, IPv6", "till", lan6, "shop", shop.LANIPv6()})
	}
	return all
}

// TestSpoofGuard has a stranger on the internet, and a machine of a LAN, send packets that claim to come from the mesh. None
// arrives, and each is counted; without the guard all arrive.
func TestSpoofGuard(t *testing.T) {
	m := lanMesh(t, [2]string{"10.10.0.0/24", "fd10::/64"}, [2]string{"10.20.0.0/24", "fd20::/64"}, "stranger")
	admin := lab.DefaultController
	m.must(admin, "site", "add", "shop", "--prefix", "10.10.0.0/24", "--prefix", "fd10::/64", "--gateway", "shop")
	m.must(admin, "site", "add", "warehouse", "--prefix", "10.20.0.0/24", "--prefix", "fd20::/64", "--gateway", "warehouse")
	m.must("stranger", "leave")
	forward(t, m.lab.Host("shop")) // as a router does: from the internet to its LAN as well
	m.leadToFloor()
	all := m.claims()
	for _, c := range all {
		before := m.droppedBy("shop", peers.CounterSpoofed)
		if m.arrives(c) {
			t.Errorf("%s: it arrives", c.name)
		}
		if m.droppedBy("shop", peers.CounterSpoofed) == before {
			t.Errorf("%s: it is not counted", c.name)
		}
	}
	m.withoutGuard("shop")
	for _, c := range all {
		if !m.arrives(c) {
			t.Errorf("%s: without the guard it does not arrive either: this test sees nothing", c.name)
		}
	}
}

// leadToFloor has the internet know a way to the LAN of the shop, as somebody on the shop's own link does.
func (m *mesh) leadToFloor() {
	m.t.Helper()
	shop := m.lab.Host("shop")
	for to, via := range map[string]netip.Addr{"10.10.0.0/24": shop.IPv4(), "fd10::/64": shop.IPv6()} {
		if !via.IsValid() {
			continue
		}
		r := &netlink.Route{Dst: ipNet(to), Gw: via.AsSlice()}
		if err := netlink.RouteAdd(r); err != nil {
			m.t.Fatal(err)
		}
		m.t.Cleanup(func() { _ = netlink.RouteDel(r) })
	}
}

// arrives sends what is claimed, then the same under the sender's own name until that is there, and reports whether the
// former was there before.
func (m *mesh) arrives(c claim) bool {
	m.t.Helper()
	from, at := m.lab.Host(c.from), netip.AddrPortFrom(c.at, 5432)
	var hears *net.UDPConn
	if err := m.lab.Host(c.to).Do(func() (err error) {
		hears, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	}); err != nil {
		m.t.Fatal(err)
	}
	defer hears.Close()
	send := func(as netip.Addr, text string) {
		m.t.Helper()
		if err := from.Do(func() error {
			d := net.Dialer{}
			if as.IsValid() {
				d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(as, 0))
			}
			conn, err := d.DialContext(m.t.Context(), "udp", at.String())
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write([]byte(text))
			return err
		}); err != nil {
			m.t.Fatalf("%s: %v", c.name, err)
		}
	}
	defer m.owns(c.from, c.as)()
	send(netip.Addr{}, "here I am") // so that all on the way know each other's link addresses
	var seen []string
	sent := false
	buf := make([]byte, 64)
	until(m.t, patience, c.name+": the sender reaches "+at.String(), func() bool {
		_ = hears.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := hears.Read(buf)
		if err != nil {
			send(netip.Addr{}, "here I am")
			return false
		}
		seen = append(seen, string(buf[:n]))
		if !sent {
			sent = true
			send(c.as, "a claim")
			send(netip.Addr{}, "the end")
		}
		return string(buf[:n]) == "the end"
	})
	return strings.Contains(strings.Join(seen, ","), "a claim")
}

// owns gives a host an address that is not its own, until the end.
func (m *mesh) owns(host string, a netip.Addr) (end func()) {
	m.t.Helper()
	change := func(do func(netlink.Link, *netlink.Addr) error) {
		m.t.Helper()
		if err := m.lab.Host(host).Do(func() error {
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			address, err := netlink.ParseAddr(netip.PrefixFrom(a, a.BitLen()).String())
			if err != nil {
				return err
			}
			address.Flags = unix.IFA_F_NODAD // to be used at once
			return do(lo, address)
		}); err != nil {
			m.t.Fatal(err)
		}
	}
	change(netlink.AddrReplace)
	return func() { change(netlink.AddrDel) }
}
