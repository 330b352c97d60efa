package peers_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
)

func addrs(s ...string) (out []netip.Addr) {
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// TestHearing: when an address counts as silent, and a LAN.
func TestHearing(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var h peers.Hearing
	say := func(a peers.Answer, after time.Duration) bool {
		now = now.Add(after)
		h = h.After(a, now)
		return h.Silent(now)
	}
	for range 100 { // each second question goes unanswered
		if say(peers.AnswerHeard, peers.LANAskEvery) || say(peers.AnswerNone, peers.LANAskEvery) {
			t.Fatal("one that answers is silent")
		}
	}
	say(peers.AnswerHeard, 0)
	began := now
	for !say(peers.AnswerNone, peers.LANAskEvery) {
		if now.Sub(began) > 2*time.Second {
			t.Fatal("one that has not answered for two seconds is not silent")
		}
	}
	if now.Sub(began) < peers.LANSilentAfter {
		t.Errorf("it is silent after %v", now.Sub(began))
	}
	if say(peers.AnswerHeard, peers.LANAskEvery) {
		t.Error("one that answers again is silent")
	}
	say(peers.AnswerNone, peers.LANAskEvery)
	if say(peers.AnswerNone, time.Hour) {
		t.Error("who was stopped for an hour has not listened, and takes it for silence")
	}
	silent := peers.Hearing{Since: now.Add(-time.Minute), Rounds: 240}
	for name, c := range map[string]struct {
		all  []peers.Hearing
		want bool
	}{
		"none": {nil, false}, "one": {[]peers.Hearing{silent}, true}, "all": {[]peers.Hearing{silent, silent}, true},
		"one of two":                    {[]peers.Hearing{silent, {}}, false},
		"the other cannot be asked":     {[]peers.Hearing{silent, {Unknown: true}}, true},
		"none of them can be asked":     {[]peers.Hearing{{Unknown: true}, {Unknown: true}}, false},
		"the other is silent since now": {[]peers.Hearing{silent, {Since: now, Rounds: 9}}, false},
	} {
		if got := peers.LANSilent(c.all, now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestElectSilence: silence counts where another gateway hears of somebody, and nowhere else.
func TestElectSilence(t *testing.T) {
	w := newWard(t, 2, 3)
	w.rounds(100)
	w.agree("gw1")
	for _, g := range w.gates {
		g.silent = true // at the same time: the host that is asked is off
	}
	w.rounds(100)
	w.agree("gw1")
	if n := w.moves(); n != 0 {
		t.Errorf("%d moves while all LANs were silent", n)
	}

	w.gates["gw1"].drained = true // nor does it keep a gateway from being drained
	w.rounds(20)
	w.agree("gw2")
	w.gates["gw1"].drained = false
	w.gates["gw2"].dead = true // or another one from being lost
	w.rounds(5)
	w.agree("gw1")
	w.gates["gw2"].restart()
	w.gates["gw2"].silent = true
	w.rounds(100)
	w.agree("gw1")

	before := w.moves()
	w.gates["gw2"].silent = false // the one hears of the host a little earlier
	w.rounds(2)
	w.gates["gw1"].silent = false
	w.rounds(100)
	w.agree("gw1")
	if n := w.moves() - before; n != 0 {
		t.Errorf("%d moves when the LANs were heard again", n)
	}
	w.gates["gw1"].silent = true
	w.rounds(3)
	w.agree("gw2")
	w.gates["gw1"].restart() // one that comes up where nobody is heard takes what the LAN sends
	w.gates["gw1"].silent, w.gates["gw2"].silent, w.gates["gw2"].dead = true, true, true
	w.rounds(5)
	w.agree("gw1")
}

// TestLANCheckRules: which addresses can be asked, and who is told.
func TestLANCheckRules(t *testing.T) {
	inv := after(t, threeSites(t), peers.UpdateHost{ID: idOf("warehouse"), Endpoints: []peers.Endpoint{
		{Kind: peers.EndpointLocal, Address: netip.MustParseAddrPort("10.20.0.2:51820")},
	}})
	set := func(gateways []string, a ...string) peers.SetSite {
		return peers.SetSite{
			Name: "warehouse", Prefixes: networks("10.20.0.0/24 as 10.61.0.0/24", "fd20::/64", "10.22.0.7/32"), Gateways: gateways,
			Virtual: netip.MustParseAddr("10.20.0.1"), LANCheck: addrs(a...),
		}
	}
	one := []string{"warehouse"}
	for name, op := range map[string]peers.SetSite{
		"elsewhere": set(one, "10.21.0.9"), "by the alias": set(one, "10.61.0.9"), "network": set(one, "10.20.0.0"),
		"broadcast": set(one, "10.20.0.255"), "twice": set(one, "10.20.0.9", "10.20.0.9"), "virtual": set(one, "10.20.0.1"),
		"the gateway itself": set(one, "10.20.0.2"), "mapped": set(one, "::ffff:10.20.0.9"), "zone": set(one, "fd20::9%lan0"),
		"too many": set(one, "10.20.0.5", "10.20.0.6", "10.20.0.7", "10.20.0.8", "10.20.0.9"), "none": {
			Name: "warehouse", Prefixes: networks("10.20.0.0/24"), Gateways: one, LANCheck: make([]netip.Addr, 1),
		},
		"no gateway": {Name: "warehouse", Prefixes: networks("10.20.0.0/24"), LANCheck: addrs("10.20.0.9")},
	} {
		_, err := inv.Apply(peers.Change{At: inv.Mesh.Created, By: "admin:anna", Op: op})
		var ps peers.Problems
		if !errors.As(err, &ps) || ps[0].Code != "lan-check" {
			t.Errorf("%s: %v", name, err)
		}
	}
	inv = after(t, inv, set(one, "10.20.0.9", "fd20::9", "10.22.0.7"))
	for host, want := range map[string]int{"warehouse": 3, "shop": 0} {
		p := planOf(t, inv, host)
		if len(p.Sites) != 1 || len(p.Sites[0].LANCheck) != want {
			t.Errorf("%s is told %+v", host, p.Sites)
		}
	}
	if ops, err := inv.Toward(inv.Declare()); err != nil || len(ops) != 0 {
		t.Errorf("what is declared is not what holds: %v, %v", ops, err)
	}
}
