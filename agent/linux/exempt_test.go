package linux

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// TestOnlyWireGuardIsExempt: what leaves by WireGuard's ports for networks of other sites, or comes to them with an
// address of the mesh, passes the guard only if it looks like WireGuard.
func TestOnlyWireGuardIsExempt(t *testing.T) {
	c := newCrossroads(t)
	c.beyond.Do(func() {
		c.beyond.AddressOn("lo", netip.MustParsePrefix("10.77.0.5/32"), netip.MustParsePrefix("10.90.0.77/32"))
	})
	route(t, c.hears, "10.77.0.0/24", "10.20.0.9")
	for name, way := range map[string]struct {
		from, to *nettest.Host
		at, dst  string
	}{
		"leaves":    {c.hears, c.beyond, ":51821", "10.77.0.5:9"},
		"is forged": {c.beyond, c.hears, "10.90.0.77:7", "10.20.0.1:51821"},
	} {
		t.Run(name, func(t *testing.T) {
			hears, sends := listenUDP(t, way.to, way.dst), listenUDP(t, way.from, way.at)
			// plain sends two datagrams, and reports whether the first that arrives is the one that is not WireGuard's.
			plain := func(tag string) bool {
				for _, text := range []string{"order " + tag, "\x04\x00\x00\x00" + tag} {
					if _, err := sends.WriteTo([]byte(text), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(way.dst))); err != nil {
						t.Logf("send %q: %v", text, err) // a guard says so to a sender on its own host
					}
				}
				b := make([]byte, 64)
				_ = hears.SetReadDeadline(time.Now().Add(5 * time.Second))
				for {
					n, _, err := hears.ReadFrom(b)
					if err != nil {
						t.Fatal(err)
					}
					if strings.HasSuffix(string(b[:n]), tag) {
						return strings.HasPrefix(string(b[:n]), "order")
					}
				}
			}
			set := func(g peers.Guard) {
				if err := c.kernel.Apply(t.Context(), []peers.Step{peers.SetGuard{Guard: g}}); err != nil {
					t.Fatal(err)
				}
			}
			set(peers.Guard{Clamp: true})
			if !plain("before") {
				t.Fatal("without a wall the order does not arrive")
			}
			p := planFor(1)
			p.Gate = &peers.Gate{Version: peers.GateVersion, Remote: prefixes("10.77.0.0/24")}
			set(p.CompileGuard(peers.GuardOptions{}))
			if plain("after") {
				t.Error("what is not WireGuard passes by its port")
			}
		})
	}
}

func listenUDP(t *testing.T, h *nettest.Host, at string) (c net.PacketConn) {
	t.Helper()
	var err error
	h.Do(func() { c, err = net.ListenPacket("udp4", at) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestWallLetsErrorsIn: word of what went wrong with a packet is let in, also where the host knows nothing of the packet,
// as after another gateway has taken over; other ICMP is not.
func TestWallLetsErrorsIn(t *testing.T) {
	w := newWalled(t)
	w.allow("tcp/22")
	var hears, sends net.PacketConn
	var err error
	w.hears.Do(func() { hears, err = net.ListenPacket("ip4:icmp", "10.90.0.1") })
	if err == nil {
		w.asks.Do(func() { sends, err = net.ListenPacket("ip4:icmp", "10.90.0.2") })
	}
	if err != nil {
		t.Fatal(err)
	}
	defer hears.Close()
	defer sends.Close()
	about := []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 90, 0, 1, 10, 90, 0, 2, 0x30, 0x39, 0x30, 0x3a, 0, 8, 0, 0}
	binary.BigEndian.PutUint16(about[10:], checksum(about[:20]))
	for _, raw := range [][]byte{{8, 0, 0, 0, 0, 1, 0, 1}, append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, about...)} {
		binary.BigEndian.PutUint16(raw[2:], checksum(raw))
		if _, err := sends.WriteTo(raw, &net.IPAddr{IP: net.IPv4(10, 90, 0, 1)}); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 256)
	_ = hears.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, _, err := hears.ReadFrom(b); err != nil || b[0] != 3 {
		t.Errorf("the first that comes is %x, %v", b[:n], err)
	}
	if w.count(peers.CounterRefused) == 0 {
		t.Error("the other one is not counted")
	}
}

// checksum is that of the Internet (RFC 1071), over an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// TestUntracked: of connections that somebody has exempted from tracking nobody knows who asked, so none is let in.
func TestUntracked(t *testing.T) {
	w := newWalled(t)
	w.echo("5432")
	w.allow("tcp/5432")
	if !answers(w.dial("5432"), 5*time.Second) {
		t.Fatal("what is allowed does not pass")
	}
	w.hears.Do(func() {
		nft(t, "add table inet others", "add chain inet others in { type filter hook prerouting priority raw; }",
			"add rule inet others in tcp dport 5432 notrack")
	})
	before := w.count(peers.CounterRefused)
	if w.dial("5432") != nil {
		t.Error("an untracked connection is let in")
	}
	if w.count(peers.CounterRefused) == before {
		t.Error("what was refused is not counted")
	}
}
