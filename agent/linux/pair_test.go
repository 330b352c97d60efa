package linux

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// A side is one of two hosts with a tunnel between them. The link names differ, because the hosts share a
// /run and with it the sockets of the tunnels.
type side struct {
	*nettest.Host
	kernel *Kernel
	link   string
}

// newPair makes two hosts, joined by a cable with both families.
func newPair(t testing.TB) (a, b *side) {
	t.Helper()
	one, two := nettest.NewHost(t), nettest.NewHost(t)
	nettest.Join(t, one, two, netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/24"))
	one.Address(netip.MustParsePrefix("2001:db8::1/64"))
	two.Address(netip.MustParsePrefix("2001:db8::2/64"))
	a, b = &side{Host: one, link: "wrn0"}, &side{Host: two, link: "wrn1"}
	t.Cleanup(func() { awaitSockets(t) })
	for _, s := range []*side{a, b} {
		s.Do(func() { s.kernel = openKernel(t) })
		t.Cleanup(func() { s.Do(func() { deleteLinks(t) }) })
	}
	return a, b
}

// addresses of the sides in the tunnel and outside, by family.
func inside(n byte) netip.Addr  { return netip.AddrFrom4([4]byte{10, 90, 0, n}) }
func inside6(n byte) netip.Addr { return netip.AddrFrom16([16]byte{0xfd, 15: n}) }

// steps give a side everything for a tunnel to the other.
func (s *side) steps(own, other byte, endpoint string, port uint16) []peers.Step {
	keepalive := 25
	p4, p6 := netip.PrefixFrom(inside(other), 32), netip.PrefixFrom(inside6(other), 128)
	return []peers.Step{
		peers.AddLink{Name: s.link, MTU: 1420},
		peers.SetDevice{Link: s.link, Private: private(string(rune('A' + own))), Port: port},
		peers.AddAddress{Link: s.link, Prefix: netip.PrefixFrom(inside(own), 32)},
		peers.AddAddress{Link: s.link, Prefix: netip.PrefixFrom(inside6(own), 128)},
		peers.SetLink{Name: s.link, Up: true},
		peers.SetPeer{
			Link: s.link, Key: public(string(rune('A' + other))), New: true, PSK: preshared("pair"), Keepalive: &keepalive,
			Endpoint: netip.MustParseAddrPort(endpoint), Allowed: []netip.Prefix{p4, p6},
		},
		peers.SetRoute{Route: peers.Route{Prefix: p4, Link: s.link, Source: inside(own)}},
		peers.SetRoute{Route: peers.Route{Prefix: p6, Link: s.link, Source: inside6(own)}},
	}
}

func (s *side) apply(t testing.TB, steps ...peers.Step) {
	t.Helper()
	s.Do(func() {
		if err := s.kernel.Apply(t.Context(), steps); err != nil {
			t.Fatal(err)
		}
	})
}

func (s *side) observe(t testing.TB) (l *peers.Link) {
	t.Helper()
	s.Do(func() {
		state, err := s.kernel.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l, _ = state.LinkNamed(s.link)
	})
	return l
}

// echo answers every datagram at an address of the side.
func (s *side) echo(t testing.TB, at netip.Addr) netip.AddrPort {
	t.Helper()
	var c *net.UDPConn
	s.Do(func() {
		var err error
		if c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 7))); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { c.Close() })
	go func() {
		buffer := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			if _, err := c.WriteToUDPAddrPort(buffer[:n], from); err != nil {
				return
			}
		}
	}()
	return netip.AddrPortFrom(at, 7)
}

// A pinger sends numbered datagrams and collects the answers.
type pinger struct {
	conn *net.UDPConn
	got  chan uint64
	sent uint64
}

// pinger opens one from a side; answers to all datagrams are kept until somebody reads them.
func (s *side) pinger(t testing.TB, to netip.AddrPort) *pinger {
	t.Helper()
	p := &pinger{got: make(chan uint64, 100_000)}
	s.Do(func() {
		var err error
		if p.conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to)); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { p.conn.Close() })
	go func() {
		buffer := make([]byte, 2048)
		for {
			n, err := p.conn.Read(buffer)
			if err != nil {
				return
			}
			if n >= 8 {
				p.got <- binary.BigEndian.Uint64(buffer)
			}
		}
	}()
	return p
}

func (p *pinger) send(t testing.TB) uint64 {
	t.Helper()
	p.sent++
	if _, err := p.conn.Write(binary.BigEndian.AppendUint64(make([]byte, 0, 64), p.sent)); err != nil {
		t.Fatal(err)
	}
	return p.sent
}

// answered waits for the answer to a datagram.
func (p *pinger) answered(t testing.TB, number uint64) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case n := <-p.got:
			if n == number {
				return
			}
		case <-timeout:
			t.Fatalf("no answer to datagram %d", number)
		}
	}
}
