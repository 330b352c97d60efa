package linux

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// A crossroads is a gateway between the mesh, its site's network 10.20.0.0/24 and another one, 10.30.0.0/24, that the
// mesh knows nothing of.
type crossroads struct {
	*walled
	beyond *nettest.Host
}

func newCrossroads(t *testing.T) *crossroads {
	c := &crossroads{walled: newWalled(t), beyond: nettest.NewHost(t)}
	nettest.Join(t, c.hears, c.beyond, netip.MustParsePrefix("10.20.0.1/24"), netip.MustParsePrefix("10.20.0.9/24"))
	c.hears.Do(func() {
		c.hears.AddressOn("eth0", netip.MustParsePrefix("10.30.0.1/24"))
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	})
	c.beyond.Do(func() { c.beyond.AddressOn("eth0", netip.MustParsePrefix("10.30.0.9/24")) })
	route(t, c.asks, "10.20.0.0/24", "10.90.0.1")
	route(t, c.asks, "10.30.0.0/24", "10.90.0.1")
	route(t, c.beyond, "10.90.0.0/16", "10.20.0.1")
	return c
}

func route(t *testing.T, h *nettest.Host, to, via string) {
	t.Helper()
	h.Do(func() {
		r := &netlink.Route{Dst: ipNet(netip.MustParsePrefix(to)), Gw: netip.MustParseAddr(via).AsSlice()}
		if err := netlink.RouteAdd(r); err != nil {
			t.Fatal(err)
		}
	})
}

// answersAt accepts connections at an address of a host until the test ends.
func answersAt(t *testing.T, h *nettest.Host, address string) {
	t.Helper()
	h.Do(func() {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_ = conn.Close()
			}
		}()
	})
}

// reaches tells whether a host gets a connection to an address, from one of its own, or from any for "".
func reaches(h *nettest.Host, from, address string, within time.Duration) (ok bool) {
	d := net.Dialer{Timeout: within}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	h.Do(func() {
		conn, err := d.Dial("tcp", address)
		if ok = err == nil; ok {
			_ = conn.Close()
		}
	})
	return ok
}

// TestStrayed: without a policy the mesh reaches a gateway's site, and nothing else that the gateway could forward to,
// unless somebody answers, or has translated the destination on purpose.
func TestStrayed(t *testing.T) {
	const soon, patient = 500 * time.Millisecond, 5 * time.Second
	c := newCrossroads(t)
	for _, address := range []string{"10.20.0.9:5432", "10.30.0.9:5432"} {
		answersAt(t, c.beyond, address)
	}
	answersAt(t, c.asks, "10.90.0.2:5432")
	if !reaches(c.asks, "", "10.30.0.9:5432", patient) {
		t.Fatal("without a guard nothing is kept from going there")
	}
	p := planFor(1)
	lan := netip.MustParsePrefix("10.20.0.0/24")
	p.Sites = []peers.PlanSite{{
		Name: p.Self.Site, Prefixes: []netip.Prefix{lan}, Gateways: []peers.HostID{p.Self.ID}, Networks: []peers.SitePrefix{{Prefix: lan}},
	}}
	subject{kernel: c.kernel}.apply(t, peers.SetGuard{Guard: p.CompileGuard(peers.GuardOptions{})})
	if !reaches(c.asks, "", "10.20.0.9:5432", patient) {
		t.Error("the mesh does not reach the site of the gateway")
	}
	if reaches(c.asks, "", "10.30.0.9:5432", soon) {
		t.Error("the mesh reaches a network that is not in it")
	}
	if n := c.count(peers.CounterStrayed); n == 0 {
		t.Error("what was dropped is not counted")
	}
	if !reaches(c.beyond, "10.30.0.9", "10.90.0.2:5432", patient) {
		t.Error("answers from the mesh are dropped")
	}
	c.hears.Do(func() {
		nft(t, "add table ip others", "add chain ip others in { type nat hook prerouting priority dstnat; }",
			"add rule ip others in tcp dport 9999 dnat to 10.30.0.9:5432")
	})
	if !reaches(c.asks, "", "10.90.0.1:9999", patient) {
		t.Error("what somebody translates on purpose is dropped")
	}
}

// TestHandshakesAreJudged: what begins a handshake is noted and may come with an address of the mesh, but at the host's own
// address there it is judged like all else: somebody else may have the port that WireGuard does not use.
func TestHandshakesAreJudged(t *testing.T) {
	c := newCrossroads(t)
	c.beyond.Do(func() { c.beyond.AddressOn("lo", netip.MustParsePrefix("10.90.0.77/32")) })
	const to = "10.90.0.1:51821"
	hears := listenUDP(t, c.hears, to)
	first := append([]byte{1, 0, 0, 0}, make([]byte, 144)...)
	c.allow("udp/51821")
	send := func(h *nettest.Host, from string, what []byte) {
		t.Helper()
		if _, err := listenUDP(t, h, from).WriteTo(what, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to))); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []string{"10.20.0.9:7", "10.90.0.77:7"} {
		send(c.beyond, from, first)
		nettest.Eventually(t, from+" is noted", func() bool {
			knocks := c.kernel.guard.knocks(c.kernel.guard.table())
			return slices.Contains(knocks, netip.MustParseAddrPort(from).Addr())
		})
	}
	send(c.asks, "10.90.0.2:7", []byte("allowed"))
	_ = hears.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, from, err := hears.ReadFrom(make([]byte, 200)); err != nil || n != len("allowed") {
		t.Errorf("the first that is let in are %d bytes from %v: %v", n, from, err)
	}
}

// TestPolicyForNeighbours: a policy holds for whoever asks a host at its addresses in the mesh, also for a neighbour who sends to
// them by the cable between the two. What he asks at other addresses is not the mesh's business.
func TestPolicyForNeighbours(t *testing.T) {
	const soon, patient = 500 * time.Millisecond, 5 * time.Second
	c := newCrossroads(t)
	route(t, c.beyond, "10.90.0.1/32", "10.20.0.1")
	answersAt(t, c.hears, "10.90.0.1:5432")
	answersAt(t, c.hears, "10.20.0.1:5432")
	if !reaches(c.beyond, "", "10.90.0.1:5432", patient) {
		t.Fatal("without a policy a neighbour is not let in")
	}
	c.allow("tcp/5432")
	if reaches(c.beyond, "", "10.90.0.1:5432", soon) {
		t.Error("a neighbour is let in past the policy")
	}
	if c.count(peers.CounterRefused) == 0 {
		t.Error("what was refused is not counted")
	}
	if !reaches(c.asks, "", "10.90.0.1:5432", patient) || !reaches(c.beyond, "", "10.20.0.1:5432", patient) {
		t.Error("what the policy allows, or says nothing of, is closed")
	}
	if !reaches(c.hears, "", "10.90.0.1:5432", patient) {
		t.Error("the host does not reach itself")
	}
	answersAt(t, c.beyond, "10.20.0.9:5432")
	if !reaches(c.hears, "10.90.0.1", "10.20.0.9:5432", patient) {
		t.Error("a neighbour does not answer the host")
	}
	c.allowFrom(peers.Selector{Kind: peers.SelectPrefix, Prefix: netip.MustParsePrefix("10.20.0.0/24")}, "tcp/5432")
	if !reaches(c.beyond, "", "10.90.0.1:5432", patient) {
		t.Error("a neighbour is not let in by a flow for his network")
	}
}
