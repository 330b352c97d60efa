package linux

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/warren-mesh/warren/peers"
)

// TestPortOfSomebody: another program has the port. It is named, the other interface does not suffer, and nothing but
// the end of the other program is needed.
func TestPortOfSomebody(t *testing.T) {
	k := newKernel(t)
	s := subject{kernel: k}
	s.up(t, "wrn0", 51820)
	other, err := net.ListenUDP("udp", &net.UDPAddr{Port: 51821})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	steps := []peers.Step{
		peers.AddLink{Name: "wrn1", MTU: 1420},
		peers.SetDevice{Link: "wrn1", Private: private("wrn1"), Port: 51821},
		peers.SetLink{Name: "wrn1", Up: true},
	}
	err = k.Apply(t.Context(), steps)
	var taken *PortError
	if !errors.As(err, &taken) || taken.Port != 51821 {
		t.Fatalf("error %v, want one about port 51821", err)
	}
	me, err := os.ReadFile("/proc/self/comm")
	if err != nil || !strings.Contains(taken.Error(), strings.TrimSpace(string(me))) {
		t.Errorf("%q does not name %q, who has it", taken, me)
	}
	if l := s.link(t, "wrn0"); !l.Up || l.Port != 51820 {
		t.Errorf("the other interface: %+v", l)
	}
	if l := s.link(t, "wrn1"); l.Up || l.Port != 0 && l.Port != 51821 {
		t.Errorf("it must stay down, for it would take any other port: %+v", l)
	}
	other.Close()
	s.apply(t, steps[1:]...)
	if l := s.link(t, "wrn1"); !l.Up || l.Port != 51821 {
		t.Errorf("the port is free, and yet: %+v", l)
	}
}

// TestPortOfAnotherTunnel: a WireGuard interface of somebody else is named.
func TestPortOfAnotherTunnel(t *testing.T) {
	k := newKernel(t)
	if k.Backend() != InKernel {
		t.Skip("the kernel has no WireGuard for another interface")
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "wg0"
	port := 51821
	key := wgtypes.Key(private("wg0").ExposeBytes())
	other := &netlink.Wireguard{LinkAttrs: attrs}
	if err := errors.Join(netlink.LinkAdd(other),
		k.wg.ConfigureDevice("wg0", wgtypes.Config{ListenPort: &port, PrivateKey: &key}), netlink.LinkSetUp(other)); err != nil {
		t.Fatal(err)
	}
	err := k.Apply(t.Context(), []peers.Step{
		peers.AddLink{Name: "wrn1", MTU: 1420},
		peers.SetDevice{Link: "wrn1", Private: private("wrn1"), Port: 51821},
		peers.SetLink{Name: "wrn1", Up: true},
	})
	if err == nil || !strings.Contains(err.Error(), "wg0") {
		t.Errorf("error %v, want one that names wg0", err)
	}
}
