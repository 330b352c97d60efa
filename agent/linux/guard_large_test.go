package linux

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/peers"
)

// TestGuardOfMany has more peers, more services and more networks of other sites in one set each than go into one
// attribute of a message, and asks the system's own tool for the last of each.
func TestGuardOfMany(t *testing.T) {
	const many = 4000
	k := newKernel(t)
	p := planFor(many)
	own := prefixes("10.90.0.1/32", "fd00:90::1/128")
	p.Gate = &peers.Gate{Version: peers.GateVersion, Policy: true}
	for i := range p.Peers { // so that no two are neighbours
		p.Peers[i].Prefixes = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 90, byte(64 + i>>7), byte(2 * i)}), 32)}
		p.Gate.Remote = append(p.Gate.Remote, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(100 + i>>7), byte(2 * i), 0}), 24))
		at := uint16(1000 + 3*i)
		p.Gate.Rules = append(p.Gate.Rules, peers.GateRule{
			Flow: i + 1, From: []peers.Selector{{Kind: peers.SelectPrefix, Prefix: netip.MustParsePrefix("10.90.0.0/16")}}, To: own,
			Allow: []peers.Service{
				{Protocol: peers.TCP, Ports: peers.Ports{First: at, Last: at}}, {Protocol: peers.UDP, Ports: peers.Ports{First: at, Last: at + 1}},
			},
		})
	}
	some := p.Gate.Rules[0]
	some.Flow, some.Allow = many+1, []peers.Service{{Protocol: peers.ICMP}}
	some.From = nil
	for i := range p.Peers {
		some.From = append(some.From, peers.Selector{Kind: peers.SelectHost, Name: p.Peers[i].Name})
	}
	p.Gate.Rules = append(p.Gate.Rules, some)
	guard := p.CompileGuard(peers.GuardOptions{})
	subject{kernel: k}.apply(t, peers.SetGuard{Guard: guard})
	listed := nft(t, "list table inet warren")
	last, port := p.Peers[many-1].Prefixes[0].Addr(), 1000+3*(many-1)
	for _, want := range []string{
		fmt.Sprintf("%v : goto class-", last), fmt.Sprintf("%d : \"flow-", port), fmt.Sprintf("%d-%d : \"flow-", port, port+1),
		p.Gate.Remote[many-1].String(),
	} {
		if !strings.Contains(listed, want) {
			t.Errorf("nft lists no %q", want)
		}
	}
	if got := (subject{kernel: k}).observe(t).Guard; got.Digest != guard.Digest() {
		t.Errorf("the table is %+v", got)
	}
}
