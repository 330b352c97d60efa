package agent

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/warren-mesh/warren/peers"
)

func TestCandidates(t *testing.T) {
	address := netip.MustParseAddr
	pinned := []peers.Endpoint{
		{Kind: peers.EndpointPinned, Address: netip.MustParseAddrPort("203.0.113.1:4000")},
		{Kind: peers.EndpointPinned, Address: netip.MustParseAddrPort("192.0.2.7:51820")},
	}
	overlays := []netip.Prefix{netip.MustParsePrefix("10.90.0.0/16"), netip.MustParsePrefix("fd00::/64")}
	local := []netip.Addr{
		address("192.0.2.9"), address("10.90.0.1"), address("2001:db8::9"), address("192.0.2.7"), address("fd00::1"),
		address("192.0.2.9"), address("10.1.2.3"),
	}
	var got []string
	for _, e := range candidates(local, pinned, 51820, overlays) {
		got = append(got, string(e.Kind)+" "+e.Address.String())
	}
	want := []string{
		"pinned 203.0.113.1:4000", "pinned 192.0.2.7:51820",
		"local 10.1.2.3:51820", "local 192.0.2.9:51820", "local [2001:db8::9]:51820",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	slices.Reverse(local)
	if again := candidates(local, pinned, 51820, overlays); len(again) != len(want) || again[2].Address.String() != "10.1.2.3:51820" {
		t.Errorf("in another order they are %v", again)
	}
	if none := candidates(nil, nil, 51820, nil); none == nil || len(none) > 0 {
		t.Errorf("none are %v, want an empty list", none)
	}
	var many []netip.Addr
	for i := range 100 {
		many = append(many, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
	}
	if got := candidates(many, pinned, 51820, nil); len(got) != maxCandidates || got[0] != pinned[0] {
		t.Errorf("%d of a hundred", len(got))
	}
}

func TestLinksThatNobodyReaches(t *testing.T) {
	for name, inside := range map[string]bool{
		"eth0": false, "enp3s0": false, "br0": false, "bond0": false, "wg0": false, "wlan0": false, "lo": false,
		"wrn0": true, "wrnx": true, "docker0": true, "br-3f2a": true, "veth12": true, "virbr0": true, "cni0": true,
	} {
		if isInside(name) != inside {
			t.Errorf("%s: %v", name, !inside)
		}
	}
}

func TestLocalAddressesAreGlobal(t *testing.T) {
	found, err := LocalAddresses()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range found {
		if a.IsLoopback() || a.IsLinkLocalUnicast() || a.Is4In6() {
			t.Errorf("%v", a)
		}
	}
}
