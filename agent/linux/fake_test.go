package linux

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/peers"
)

// TestFakeText has a fake host print itself.
func TestFakeText(t *testing.T) {
	f := NewFake()
	f.SetForeign(peers.Foreign{Prefix: netip.MustParsePrefix("192.168.1.0/24"), Link: "eth0"})
	s := subject{kernel: f}
	s.apply(t, peers.Diff(s.observe(t), planFor(2))...)
	want := strings.NewReplacer("KEY0", public("host0").String(), "KEY1", public("host1").String(), "GUARD", planFor(2).Guard().Digest()).Replace(
		`nft add table inet warren # GUARD
ip link add wrn0 mtu 1420 type wireguard
wg set wrn0 private-key (hidden) listen-port 51820
sysctl net.ipv4.conf.wrn0.rp_filter=2
ip address add 10.90.0.1/32 dev wrn0
ip address add fd00:90::1/128 dev wrn0
ip link set wrn0 up
wg set wrn0 peer KEY0 preshared-key (hidden) endpoint 198.51.100.7:1000 persistent-keepalive 25 ` +
			`allowed-ips 10.90.1.0/32,fd00:90::100/128
wg set wrn0 peer KEY1 preshared-key (hidden) endpoint 198.51.100.7:1001 persistent-keepalive 25 ` +
			`allowed-ips 10.90.1.1/32,fd00:90::101/128
ip route add unreachable 10.90.0.0/16 proto 119
ip route add 10.90.1.0/32 dev wrn0 proto 119 src 10.90.0.1
ip route add 10.90.1.1/32 dev wrn0 proto 119 src 10.90.0.1
ip route add unreachable fd00:90::/48 proto 119
ip route add fd00:90::100/128 dev wrn0 proto 119 src fd00:90::1
ip route add fd00:90::101/128 dev wrn0 proto 119 src fd00:90::1
ip route add 192.168.1.0/24 dev eth0
`)
	if diff := cmp.Diff(want, f.String()); diff != "" {
		t.Error(diff)
	}
}

// TestFakeWorld does to a fake host what the world does to a real one.
func TestFakeWorld(t *testing.T) {
	f := NewFake()
	s := subject{kernel: f}
	plan := planFor(2)
	s.apply(t, peers.Diff(s.observe(t), plan)...)
	at := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
	from := netip.MustParseAddrPort("203.0.113.9:4242")
	err := errors.Join(
		f.Handshake("wrn0", public("host0"), from, at),
		f.Transfer("wrn0", public("host0"), 10, 20),
	)
	if err != nil {
		t.Fatal(err)
	}
	l := s.link(t, "wrn0")
	p, _ := l.Peer(public("host0"))
	if !p.LastHandshake.Equal(at) || p.Endpoint != from || p.Rx != handshakeSize+10 || p.Tx != handshakeSize+20 {
		t.Errorf("after a handshake: %+v", p)
	}
	if steps := peers.Diff(s.observe(t), plan); len(steps) != 0 {
		t.Errorf("a peer that roams is set back: %v", steps)
	}
	f.SetIPv6(false)
	if state := s.observe(t); state.IPv6 || len(state.Links[0].Addresses) != 1 || len(peers.Diff(state, plan)) != 0 {
		t.Errorf("without IPv6: %+v", state)
	}
	refused := errors.New("refused")
	f.Refuse(func(step peers.Step) error {
		if _, ok := step.(peers.SetLink); ok {
			return refused
		}
		return nil
	})
	plan.Interfaces[0].MTU = 1380
	if err := f.Apply(t.Context(), peers.Diff(s.observe(t), plan)); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
	if f.Handshake("wrn1", public("host0"), from, at) == nil || f.Transfer("wrn0", public("nobody"), 1, 1) == nil {
		t.Error("peers that are not there shake hands")
	}
}
