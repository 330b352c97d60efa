package agent_test

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// neighbours are hosts of the LAN: all answer but those that are said not to.
type neighbours struct {
	mu   sync.Mutex
	off  map[netip.Addr]bool
	odd  map[netip.Addr]bool // cannot be asked
	asks int
}

func (n *neighbours) Ask(a netip.Addr) (peers.Answer, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asks++
	switch {
	case n.odd[a]:
		return peers.AnswerUnknown, errors.New("it is odd")
	case n.off[a]:
		return peers.AnswerNone, nil
	}
	return peers.AnswerHeard, nil
}

func (n *neighbours) set(what *map[netip.Addr]bool, all ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	*what = map[netip.Addr]bool{}
	for _, a := range all {
		(*what)[netip.MustParseAddr(a)] = true
	}
}

func (n *neighbours) silence(all ...string) { n.set(&n.off, all...) }

func (n *neighbours) asked() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asks
}

// checks has the gateways of the site ask addresses.
func (g *gatewayRig) checks(all ...string) {
	op := peers.SetSite(*g.c.Inventory().Sites[g.status().Site])
	op.LANCheck = nil
	for _, a := range all {
		op.LANCheck = append(op.LANCheck, netip.MustParseAddr(a))
	}
	g.c.Apply(op)
}

func (g *gatewayRig) hasProblem(code string, want bool) {
	g.t.Helper()
	has := slices.ContainsFunc(g.status().Problems, func(p peers.Problem) bool { return p.Code == code })
	if has != want {
		g.t.Errorf("problem %s is there: %v; all: %+v", code, has, g.status().Problems)
	}
}

// TestLANCheck: a gateway whose LAN is cut off behind a link that stays up says so and is left; while the other one
// hears of nobody either, nothing moves.
func TestLANCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.background(func() { g.ask("accounting", g.self) })
		g.holds(true, 5*time.Second)
		time.Sleep(time.Minute)
		if n := g.lan.asked(); n != 0 {
			t.Errorf("hosts of the LAN were asked %d times, and nobody has wanted that", n)
		}
		g.checks("10.20.0.8", "10.20.0.9")
		time.Sleep(time.Minute)
		if n := g.lan.asked(); n < 470 || n > 482 {
			t.Errorf("two hosts of the LAN were asked %d times in a minute", n)
		}
		g.lan.silence("10.20.0.8") // one of them is off
		time.Sleep(time.Minute)
		g.holds(true, 0)
		g.hasProblem("lan-silent", false)
		for i, want := range []string{wire.LANSilent, wire.LANAnswers} {
			if got := g.status().Sites[0].LANCheck[i]; got.State != want {
				t.Errorf("in the status it is %+v, want %s", got, want)
			}
		}

		g.lan.silence("10.20.0.8", "10.20.0.9")
		time.Sleep(time.Second)
		g.holds(true, 0)
		g.holds(false, time.Second)
		if w := g.ask("accounting", g.self); w.LAN != peers.LegDown || !w.Silent || w.Acting != g.other || w.Home {
			t.Errorf("its word is %+v", w)
		}
		g.hasProblem("lan-silent", true)
		g.hasProblem("lan-down", false)
		g.probes.says(g.at, peers.Word{Acting: g.other, Home: true, LAN: peers.LegUp})
		time.Sleep(time.Minute)
		g.holds(false, 0)

		g.probes.says(g.at, peers.Word{Acting: g.other, Home: true, LAN: peers.LegDown, Silent: true}) // both now
		time.Sleep(time.Minute)
		g.holds(false, 0)
		g.probes.silent(g.at, false) // and the other one is lost
		g.holds(true, 3*time.Second)
		g.checks()
		time.Sleep(time.Second)
		g.hasProblem("lan-silent", false)
		if w := g.ask("accounting", g.self); w.LAN != peers.LegUp || w.Silent {
			t.Errorf("nothing is asked any more, and its word is %+v", w)
		}
	})
}

// TestLANCheckUnknown: an address that cannot be asked is named and says nothing.
func TestLANCheckUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.background(func() { g.ask("accounting", g.self) })
		g.checks("10.20.0.8")
		g.lan.set(&g.lan.odd, "10.20.0.8")
		g.holds(true, 5*time.Second)
		time.Sleep(time.Minute)
		g.holds(true, 0)
		g.hasProblem("lan-check-unknown", true)
	})
}
