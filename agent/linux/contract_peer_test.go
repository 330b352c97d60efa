package linux

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

func testOnePeer(t *testing.T, s subject) {
	plan := planFor(500)
	s.apply(t, peers.Diff(s.observe(t), plan)...)
	plan.Peers[250].Prefixes = append(plan.Peers[250].Prefixes, netip.MustParsePrefix("10.20.0.0/24"))
	steps := peers.Diff(s.observe(t), plan)
	if len(steps) != 2 {
		t.Fatalf("one prefix more is %v, want a peer and a route", steps)
	}
	before := s.writes()
	s.apply(t, steps[0])
	if n := s.writes() - before; n != 1 {
		t.Errorf("changing one peer of 500 took %d messages", n)
	}
	s.apply(t, steps[1])
	if steps := peers.Diff(s.observe(t), plan); len(steps) != 0 {
		t.Errorf("still different: %v", steps)
	}
}

func testAllowedMoves(t *testing.T, s subject) {
	s.up(t, "wrn0", 51820)
	s.apply(t,
		peers.SetPeer{Link: "wrn0", Key: public("a"), New: true, Allowed: prefixes("10.90.0.2/32", "10.20.0.0/24")},
		peers.SetPeer{Link: "wrn0", Key: public("b"), New: true, Allowed: prefixes("10.90.0.3/32", "10.20.0.0/24")},
		peers.SetPeer{Link: "wrn0", Key: public("a"), Allowed: prefixes("10.90.0.9/32")},
	)
	s.allowed(t, "a", "10.90.0.2/32", "10.90.0.9/32")
	s.allowed(t, "b", "10.90.0.3/32", "10.20.0.0/24")
}

func testManyAllowed(t *testing.T, s subject) {
	s.up(t, "wrn0", 51820)
	var many []netip.Prefix
	var want []string
	for i := range 3 * batchAllowed {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)}), 32)
		many, want = append(many, p), append(want, p.String())
	}
	keepalive := 25
	s.apply(t,
		peers.SetPeer{Link: "wrn0", Key: public("a"), New: true, Allowed: prefixes("10.30.0.0/24")},
		peers.SetPeer{
			Link: "wrn0", Key: public("a"), PSK: preshared("a"), Keepalive: &keepalive, Allowed: many, ReplaceAllowed: true,
		},
	)
	s.allowed(t, "a", want...)
	l := s.link(t, "wrn0")
	if p, _ := l.Peer(public("a")); p.Keepalive != 25 || !p.PSK.Equal(*preshared("a")) {
		t.Errorf("what came with many allowed IPs is lost: %+v", p)
	}
}

func testMissingPeers(t *testing.T, s subject) {
	s.up(t, "wrn0", 51820)
	s.apply(t,
		peers.SetPeer{Link: "wrn0", Key: public("gone"), Allowed: prefixes("10.90.0.2/32")},
		peers.DelPeer{Link: "wrn0", Key: public("gone")},
		peers.SetPeer{Link: "wrn0", Key: public("wrn0"), New: true, Allowed: prefixes("10.90.0.3/32")},
	)
	if l := s.link(t, "wrn0"); len(l.Peers) != 0 {
		t.Errorf("peers that cannot be: %+v", l.Peers)
	}
}

func testReplaceAllowed(t *testing.T, s subject) {
	s.up(t, "wrn0", 51820)
	keepalive, off := 25, 0
	none := key.Preshared{}
	s.apply(t,
		peers.SetPeer{
			Link: "wrn0", Key: public("a"), New: true, PSK: preshared("a"), Keepalive: &keepalive,
			Endpoint: netip.MustParseAddrPort("[2001:db8::1]:7"), Allowed: prefixes("10.90.0.2/32", "fd00:90::2/128"),
		},
		peers.SetPeer{Link: "wrn0", Key: public("b"), New: true, Allowed: prefixes("10.90.0.3/32")},
		peers.SetPeer{Link: "wrn0", Key: public("a"), Allowed: prefixes("fd00:90::2/128"), ReplaceAllowed: true},
	)
	s.allowed(t, "a", "fd00:90::2/128")
	l := s.link(t, "wrn0")
	a, _ := l.Peer(public("a"))
	if a.Endpoint != netip.MustParseAddrPort("[2001:db8::1]:7") || a.Keepalive != 25 || !a.PSK.Equal(*preshared("a")) {
		t.Errorf("a step that replaces allowed IPs changed more: %+v", a)
	}
	s.apply(t,
		peers.SetPeer{Link: "wrn0", Key: public("a"), PSK: &none, Keepalive: &off, ReplaceAllowed: true},
		peers.DelPeer{Link: "wrn0", Key: public("b")},
	)
	s.allowed(t, "a")
	l = s.link(t, "wrn0")
	a, _ = l.Peer(public("a"))
	if !a.PSK.IsZero() || a.Keepalive != 0 || len(l.Peers) != 1 {
		t.Errorf("peers after the last step: %+v", l.Peers)
	}
}

func testNewKey(t *testing.T, s subject) {
	s.up(t, "wrn0", 51820)
	for _, name := range []string{"a", "b"} {
		s.apply(t, peers.SetPeer{
			Link: "wrn0", Key: public(name), New: true, PSK: preshared(name), Allowed: prefixes("10.90.0." + fmt.Sprint(name[0]) + "/32"),
		})
	}
	s.apply(t, peers.SetDevice{Link: "wrn0", Private: private("a"), Port: 51822})
	l := s.link(t, "wrn0")
	if l.Public != public("a") || l.Port != 51822 || len(l.Peers) != 1 {
		t.Fatalf("after a new key: %+v", l)
	}
	if b := l.Peers[0]; b.Key != public("b") || !b.PSK.Equal(*preshared("b")) || len(b.Allowed) != 1 {
		t.Errorf("the other peer after a new key: %+v", b)
	}
}

func testPort(t *testing.T, s subject) {
	s.up(t, "wrn0", 51820)
	err := s.kernel.Apply(t.Context(), []peers.Step{
		peers.AddLink{Name: "wrn1", MTU: 1420},
		peers.SetDevice{Link: "wrn1", Private: private("wrn1"), Port: 51820},
		peers.SetLink{Name: "wrn1", Up: true},
	})
	if err == nil {
		t.Error("two links on one port")
	}
	s.apply(t, peers.SetDevice{Link: "wrn0", Private: private("wrn0"), Port: 51820})
	if l := s.link(t, "wrn0"); !l.Up || l.Port != 51820 {
		t.Errorf("the first link suffered: %+v", l)
	}
}
