package linux

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// TestVirtual6: a host of the LAN that knows the address elsewhere is told where it is now; it is marked, is no
// source, goes, and the link is as before.
func TestVirtual6(t *testing.T) {
	w := newTwin(t)
	virtual := netip.MustParseAddr("fd66::9")
	var own string
	w.Do(func() { own = macOf(t, "lan1") })
	w.other.Do(func() {
		elsewhere, _ := net.ParseMAC("02:00:00:00:00:77")
		setNeighbour(t, "eth0", virtual, elsewhere)
	})
	before, settings := w.state(t).Local, w.settings6(t)
	w.apply(t, peers.SetVirtual{Link: "lan1", Address: virtual})
	if got := w.settings6(t); got != settings {
		t.Errorf("settings are %s afterwards, and were %s", got, settings)
	}
	nettest.Eventually(t, "the LAN knows where the address is", func() (is bool) {
		w.other.Do(func() { is = neighbourMAC(t, virtual) == own })
		return is
	})
	w.Do(func() {
		c, err := net.Dial("udp6", "[fd66::2]:7")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if from := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr(); from == virtual {
			t.Errorf("packets come from %v", from)
		}
	})
	held := peers.Local{Prefix: netip.PrefixFrom(virtual, 128), Link: "lan1", Virtual: true}
	foreign := peers.Local{Prefix: netip.MustParsePrefix("fd66::8/128"), Link: "lan1"}
	w.Do(func() {
		link, err := netlink.LinkByName("lan1")
		if err == nil {
			err = netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(foreign.Prefix), Flags: unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_NODAD})
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	s := w.state(t)
	if len(s.Local) != len(before)+2 || s.LinkTo(virtual) != "lan1" {
		t.Errorf("addresses %v, before %v", s.Local, before)
	}
	for _, l := range s.Local {
		if a := l.Prefix.Addr(); a == virtual && l != held || a == foreign.Prefix.Addr() && l != foreign {
			t.Errorf("%+v, want %+v and %+v", l, held, foreign)
		}
	}
	plan := planFor(1)
	plan.Virtual6 = virtual
	for _, step := range peers.Diff(s, plan) {
		if _, again := step.(peers.SetVirtual); again {
			t.Error("it is set again")
		}
	}
	w.apply(t, peers.DelVirtual{Link: "lan1", Address: virtual}, peers.DelVirtual{Link: "lan1", Address: virtual})
	if got := w.state(t).Local; len(got) != len(before)+1 {
		t.Errorf("addresses %v afterwards, before %v", got, before)
	}
}

// settings6 are those of the LAN's link that are changed for a moment.
func (w *twin) settings6(t *testing.T) string {
	t.Helper()
	var out [][]byte
	w.Do(func() {
		for _, name := range []string{"accept_dad", "ndisc_notify"} {
			value, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv6/conf/lan1", name))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, bytes.TrimSpace(value))
		}
	})
	return string(bytes.Join(out, []byte(" ")))
}

func macOf(t *testing.T, name string) string {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return link.Attrs().HardwareAddr.String()
}

func setNeighbour(t *testing.T, name string, a netip.Addr, mac net.HardwareAddr) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.NeighSet(&netlink.Neigh{
			LinkIndex: link.Attrs().Index, IP: a.AsSlice(), HardwareAddr: mac, State: netlink.NUD_STALE,
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func neighbourMAC(t *testing.T, a netip.Addr) (out string) {
	t.Helper()
	all, err := netlink.NeighList(0, netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range all {
		if n.IP.Equal(a.AsSlice()) {
			out = n.HardwareAddr.String()
		}
	}
	return out
}
