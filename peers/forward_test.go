package peers_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/warren-mesh/warren/peers"
)

// TestForwardedLinks: forwarding is turned on where packets of the site come in, and nowhere else.
func TestForwardedLinks(t *testing.T) {
	inv := after(t, threeSites(t), peers.SetSite{
		Name: "warehouse", Prefixes: networks("10.20.0.0/23", "fd20::/64 as fd61::/64"), Gateways: []string{"warehouse"},
	})
	foreign := func(s ...string) (out []peers.Foreign) {
		for i := 0; i < len(s); i += 2 {
			out = append(out, peers.Foreign{Prefix: netip.MustParsePrefix(s[i]), Link: s[i+1]})
		}
		return out
	}
	for name, c := range map[string]struct {
		host     string
		foreign  []peers.Foreign
		six      peers.Forward6
		have     []peers.Forwarding
		want     []string // steps
		problems []string
	}{
		"no gateway": {"shop", foreign("10.20.0.0/23", "lan0"), 0, nil, nil, nil},
		"the LAN, IPv4 and IPv6": {"warehouse", foreign("10.20.0.0/23", "lan0", "fd20::/64", "lan0", "192.168.0.0/16", "eth0"), 0, nil, []string{
			"sysctl net.ipv4.conf.lan0.forwarding=1", "sysctl net.ipv4.conf.wrn1.forwarding=1",
			"sysctl net.ipv6.conf.lan0.force_forwarding=1", "sysctl net.ipv6.conf.wrn1.force_forwarding=1",
		}, nil},
		"two LANs, a network around them, IPv6 for the whole host": {
			"warehouse", foreign("10.0.0.0/8", "eth0", "10.20.0.0/24", "lan0", "10.20.1.0/24", "lan1", "fd20::/64", "lan0"), peers.Forward6All,
			nil,
			[]string{
				"sysctl net.ipv4.conf.lan0.forwarding=1", "sysctl net.ipv4.conf.lan1.forwarding=1", "sysctl net.ipv4.conf.wrn1.forwarding=1",
			},
			nil,
		},
		"behind a router, an older kernel": {
			"warehouse", foreign("10.0.0.0/8", "eth0", "10.20.0.0/16", "eth1", "fd20::/48", "eth1"), peers.Forward6None,
			nil,
			[]string{"sysctl net.ipv4.conf.eth1.forwarding=1", "sysctl net.ipv4.conf.wrn1.forwarding=1"},
			[]string{"prefix/fd20::/64"},
		},
		"nowhere": {"warehouse", foreign("192.168.0.0/16", "eth0"), 0, nil, []string{
			"sysctl net.ipv4.conf.wrn1.forwarding=1", "sysctl net.ipv6.conf.wrn1.force_forwarding=1",
		}, []string{"prefix/10.20.0.0/23", "prefix/fd20::/64"}},
		"on already, and ours where it is none of a gateway's business any more": {
			"warehouse", foreign("10.20.0.0/23", "lan0", "fd20::/64", "lan0"), peers.Forward6Each,
			[]peers.Forwarding{
				{Link: "lan0", IPv4: true, IPv6: true},
				{Link: "wrn1", IPv4: true, Ours4: true, IPv6: true, Ours6: true},
				{Link: "lan7", IPv4: true, Ours4: true, IPv6: true, Ours6: true},
				{Link: "docker0", IPv4: true},
			},
			[]string{"sysctl net.ipv4.conf.lan7.forwarding=0", "sysctl net.ipv6.conf.lan7.force_forwarding=0"},
			nil,
		},
	} {
		p := planOf(t, inv, c.host)
		s := peers.State{IPv6: true, Foreign: c.foreign, Forward6: c.six, Forwarding: c.have}
		var got, told []string
		for _, step := range peers.Diff(s, p) {
			if f, ok := step.(peers.SetForwarding); ok {
				got = append(got, f.String())
			}
		}
		for _, problem := range peers.ForwardingProblems(&p, &s) {
			told = append(told, problem.At)
		}
		if !slices.Equal(got, c.want) || !slices.Equal(told, c.problems) {
			t.Errorf("%s: steps %q, want %q; told of %q, want %q", name, got, c.want, told, c.problems)
		}
		for _, step := range peers.Building(peers.Diff(s, p)) {
			if f, ok := step.(peers.SetForwarding); ok && !f.On {
				t.Errorf("%s: a plan from disk has %v", name, f)
			}
		}
	}
}
