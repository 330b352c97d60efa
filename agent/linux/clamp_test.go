package linux

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// behind makes a host in a network of its own behind a gateway, which forwards for it.
func behind(t *testing.T, gateway *side, n byte) *nettest.Host {
	t.Helper()
	h := nettest.NewHost(t)
	lan4 := func(last byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, n, 0, last}), 24) }
	lan6 := func(last byte) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, n, 15: last}), 64)
	}
	nettest.Cable(t, gateway.Host, "lan0", h, "eth0")
	gateway.AddressOn("lan0", lan4(1), lan6(1))
	h.AddressOn("eth0", lan4(2), lan6(2))
	gateway.Do(func() {
		sysctl(t, "net/ipv4/ip_forward", "1")
		sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	})
	h.Do(func() {
		for _, router := range []netip.Addr{lan4(1).Addr(), lan6(1).Addr()} {
			if err := netlink.RouteAdd(&netlink.Route{Gw: router.AsSlice()}); err != nil {
				t.Fatal(err)
			}
		}
	})
	return h
}

// TestClamp opens connections from network to network through a tunnel: both ends agree on segments that
// fit into it, in both families, and on smaller ones where the route to the other gateway is narrow.
func TestClamp(t *testing.T) {
	a, b := newPair(t)
	client, server := behind(t, a, 101), behind(t, b, 102)
	network := func(n byte) []netip.Prefix {
		return []netip.Prefix{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{10, n, 0, 0}), 24),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, n}), 64),
		}
	}
	routes := func(s *side, n byte, mtu int) {
		for _, p := range network(n) {
			s.apply(t, peers.SetRoute{Route: peers.Route{Prefix: p, Link: s.link, MTU: mtu}})
		}
	}
	for _, s := range []struct {
		*side
		own, other, far byte
		endpoint        string
	}{{a, 1, 2, 102, "192.0.2.2:51821"}, {b, 2, 1, 101, "192.0.2.1:51820"}} {
		port := uint16(51820)
		if s.own == 2 {
			port = 51821
		}
		s.apply(t, s.steps(s.own, s.other, s.endpoint, port)...)
		s.apply(t, peers.SetPeer{Link: s.link, Key: public(string(rune('A' + s.other))), Allowed: network(s.far)})
		routes(s.side, s.far, 0)
	}
	sizes := func(to string) (int, int) {
		t.Helper()
		return agreed(t, client, server, netip.MustParseAddrPort(to))
	}
	for _, c := range []struct {
		name string
		do   func()
		four int
		six  int
	}{
		{"without the guard", func() {}, 1460, 1440},
		{"with it", func() { a.apply(t, peers.SetGuard{Guard: peers.Guard{Clamp: true}}) }, 1380, 1360},
		{"with narrow routes", func() { routes(a, 102, 1300) }, 1260, 1240},
		{"with wide ones again", func() { routes(a, 102, 0) }, 1380, 1360},
	} {
		c.do()
		for to, want := range map[string]int{"10.102.0.2:80": c.four, "[fd66::2]:80": c.six} {
			here, there := sizes(to)
			if here != want || there != want {
				t.Errorf("%s: to %s the ends agree on segments of %d and %d, want %d", c.name, to, here, there, want)
			}
		}
	}
}

// agreed opens a connection and gives the largest segments that its two ends may send.
func agreed(t *testing.T, client, server *nettest.Host, to netip.AddrPort) (here, there int) {
	t.Helper()
	var l net.Listener
	server.Do(func() {
		var err error
		if l, err = net.Listen("tcp", to.String()); err != nil {
			t.Fatal(err)
		}
	})
	defer l.Close()
	var conn net.Conn
	client.Do(func() {
		var err error
		if conn, err = net.DialTimeout("tcp", to.String(), 20*time.Second); err != nil {
			t.Fatal(err)
		}
	})
	defer conn.Close()
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	return segment(t, conn), segment(t, other)
}

// segment is the largest segment of a connection as the other end has offered it, without the options that
// each segment has.
func segment(t *testing.T, conn net.Conn) (size int) {
	t.Helper()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		t.Fatal("no TCP")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			size = int(info.Snd_mss)
			if info.Options&1 != 0 { // timestamps
				size += 12
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}
