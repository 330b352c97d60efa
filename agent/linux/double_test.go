package linux

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// A twin is two gateways of one LAN: one with a kernel of ours, and another, which also is who the packets are for,
// so that the test sees which of them come by way of the LAN.
type twin struct {
	*side
	other, host *nettest.Host
	got         chan string
}

// newTwin: the LANs are 10.101.0.0/24 with a host, and 10.102.0.0/24 with the other gateway.
func newTwin(t *testing.T) *twin {
	t.Helper()
	w := &twin{side: &side{Host: nettest.NewHost(t), link: "wrn0"}, got: make(chan string, 64)}
	t.Cleanup(func() { awaitSockets(t) })
	w.Do(func() { w.kernel = openKernel(t) })
	t.Cleanup(func() { w.Do(func() { deleteLinks(t) }) })
	w.host = behind(t, w.side, 101)
	w.other = nettest.NewHost(t)
	nettest.Cable(t, w.Host, "lan1", w.other, "eth0")
	w.AddressOn("lan1", netip.MustParsePrefix("10.102.0.1/24"), netip.MustParsePrefix("fd66::1/64"))
	w.other.AddressOn("eth0", netip.MustParsePrefix("10.102.0.2/24"), netip.MustParsePrefix("fd66::2/64"))
	w.other.AddressOn("lo", netip.MustParsePrefix("10.99.0.5/32"), netip.MustParsePrefix("fd63::5/128"))
	w.apply(t, w.steps(1, 2, "192.0.2.2:51821", 51820)...)
	for _, p := range []string{"10.99.0.0/24", "fd63::/64"} {
		w.apply(t, peers.SetRoute{Route: peers.Route{Prefix: netip.MustParsePrefix(p), Link: w.link}})
	}
	for _, a := range []string{"10.99.0.5:7", "[fd63::5]:7"} {
		w.hear(t, a)
	}
	return w
}

func (w *twin) hear(t *testing.T, at string) {
	var c *net.UDPConn
	w.other.Do(func() {
		var err error
		if c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at))); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { c.Close() })
	go func() {
		buffer := make([]byte, 64)
		for {
			n, err := c.Read(buffer)
			if err != nil {
				return
			}
			w.got <- string(buffer[:n])
		}
	}()
}

// sends has the host send a word to an address until it was heard, or says that it was not, sooner where it is not
// expected.
func (w *twin) sends(t *testing.T, to, word string, expected bool) bool {
	t.Helper()
	var c net.Conn
	w.host.Do(func() {
		var err error
		if c, err = net.Dial("udp", to); err != nil {
			t.Fatal(err)
		}
	})
	defer c.Close()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for range map[bool]int{false: 20, true: 500}[expected] {
		if _, err := c.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-w.got:
			if got == word {
				return true
			}
		case <-again.C:
		}
	}
	return false
}

func (w *twin) state(t *testing.T) (s peers.State) {
	t.Helper()
	w.Do(func() {
		var err error
		if s, err = w.kernel.Observe(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	return s
}

// TestDoubling: the other gateway gets a copy of what goes from the LAN into the mesh, in both families, past our
// own leak guard and only while it lets copies pass.
func TestDoubling(t *testing.T) {
	w := newTwin(t)
	both := peers.Doubling{
		Link: "lan1", From: []netip.Prefix{netip.MustParsePrefix("10.101.0.0/24"), netip.MustParsePrefix("fd65::/64")},
		Near: netip.MustParseAddr("10.102.0.2"), Near6: netip.MustParseAddr("fd66::2"),
	}
	plan := planFor(1)
	plan.Gate = &peers.Gate{Version: peers.GateVersion, Remote: []netip.Prefix{netip.MustParsePrefix("10.99.0.0/24"), netip.MustParsePrefix("fd63::/64")}}
	guard := func(doubled bool) peers.Step {
		return peers.SetGuard{Guard: plan.CompileGuard(peers.GuardOptions{Doubled: doubled})}
	}
	stranger := both
	stranger.From = []netip.Prefix{netip.MustParsePrefix("10.77.0.0/24"), netip.MustParsePrefix("fd77::/64")}
	for _, c := range []struct {
		name  string
		steps []peers.Step
		want  bool
	}{
		{"nothing doubled", nil, false},
		{"doubled, no guard", []peers.Step{peers.SetDoubling{Doubling: both}}, true},
		{"doubled, guard that does not know", []peers.Step{guard(false)}, false},
		{"doubled, guard that lets pass", []peers.Step{guard(true)}, true},
		{"other networks doubled", []peers.Step{peers.SetDoubling{Doubling: stranger}}, false},
		{"over", []peers.Step{peers.SetDoubling{Doubling: both}, peers.SetDoubling{}}, false},
	} {
		w.apply(t, c.steps...)
		for _, to := range []string{"10.99.0.5:7", "[fd63::5]:7"} {
			if got := w.sends(t, to, c.name+to, c.want); got != c.want {
				t.Errorf("%s: to %s a copy came: %v", c.name, to, got)
			}
		}
	}
}

// TestDoublingIsRead: what is there is known, and so is what somebody has changed.
func TestDoublingIsRead(t *testing.T) {
	w := newTwin(t)
	one := peers.Doubling{Link: "lan1", From: []netip.Prefix{netip.MustParsePrefix("10.101.0.0/24")}, Near: netip.MustParseAddr("10.102.0.2")}
	w.apply(t, peers.SetDoubling{Doubling: one})
	if got := w.state(t).Doubling; got.Digest != one.Digest() || !got.There {
		t.Errorf("%+v, want %s", got, one.Digest())
	}
	w.Do(func() { flushRules(t) })
	if got := w.state(t).Doubling; got != (peers.Table{}) {
		t.Errorf("after a flush %+v", got)
	}
	w.apply(t, peers.SetDoubling{Doubling: one}, peers.SetDoubling{})
	if got := w.state(t).Doubling; got != (peers.Table{}) {
		t.Errorf("after it is over %+v", got)
	}
}

// TestVirtual: a host of the LAN that knows the address elsewhere learns where it is now; it is marked, is no
// source, and goes.
func TestVirtual(t *testing.T) {
	w := newTwin(t)
	virtual := netip.MustParseAddr("10.102.0.9")
	mac := func() (out string) {
		w.other.Do(func() {
			all, err := netlink.NeighList(0, netlink.FAMILY_V4)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range all {
				if n.IP.Equal(virtual.AsSlice()) {
					out = n.HardwareAddr.String()
				}
			}
		})
		return out
	}
	w.other.Do(func() {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		elsewhere, _ := net.ParseMAC("02:00:00:00:00:77")
		err = netlink.NeighSet(&netlink.Neigh{
			LinkIndex: link.Attrs().Index, IP: virtual.AsSlice(), HardwareAddr: elsewhere, State: netlink.NUD_STALE,
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	before := w.state(t).Local
	w.apply(t, peers.SetVirtual{Link: "lan1", Address: virtual})
	var own string
	w.Do(func() {
		link, err := netlink.LinkByName("lan1")
		if err != nil {
			t.Fatal(err)
		}
		own = link.Attrs().HardwareAddr.String()
	})
	nettest.Eventually(t, "the LAN knows where the address is", func() bool { return mac() == own })
	s := w.state(t)
	held := peers.Local{Prefix: netip.PrefixFrom(virtual, 32), Link: "lan1", Virtual: true}
	if len(s.Local) != len(before)+1 || s.LinkTo(virtual) != "lan1" {
		t.Errorf("addresses %v, before %v", s.Local, before)
	}
	for _, l := range s.Local {
		if l.Prefix.Addr() == virtual && l != held {
			t.Errorf("%+v, want %+v", l, held)
		}
	}
	plan := planFor(1)
	plan.Virtual = virtual
	for _, step := range peers.Diff(s, plan) {
		if _, again := step.(peers.SetVirtual); again {
			t.Error("it is set again")
		}
	}
	w.apply(t, peers.DelVirtual{Link: "lan1", Address: virtual}, peers.DelVirtual{Link: "lan1", Address: virtual})
	if got := w.state(t).Local; len(got) != len(before) {
		t.Errorf("addresses %v afterwards, before %v", got, before)
	}
}
