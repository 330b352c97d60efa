package agent_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// gateways are those that the host watches, and what it says when it is asked itself.
type gateways struct {
	mu    sync.Mutex
	words map[netip.Addr]peers.Word // of those that answer
	mute  map[netip.Addr]bool       // the machine is there, its agent not
	told  map[netip.Addr]peers.HostID
	asks  map[netip.Addr]int
	word  func(netip.Addr, peers.HostID) peers.Word
}

func (g *gateways) Speak(word func(netip.Addr, peers.HostID) peers.Word) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.word = word
}

func (g *gateways) Watch(ctx context.Context, _, to netip.Addr, heard func(peers.Word, bool)) func(peers.HostID) {
	return func(using peers.HostID) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.told == nil {
			g.told, g.asks = map[netip.Addr]peers.HostID{}, map[netip.Addr]int{}
		}
		g.told[to], g.asks[to] = using, g.asks[to]+1
		w, ok := g.words[to]
		mute := g.mute[to]
		if ctx.Err() == nil && (ok || mute) {
			go heard(w, mute)
		}
	}
}

// says has a gateway say a word from now on.
func (g *gateways) says(at netip.Addr, w peers.Word) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.words == nil {
		g.words, g.mute = map[netip.Addr]peers.Word{}, map[netip.Addr]bool{}
	}
	g.words[at], g.mute[at] = w, false
}

// silent has a gateway answer no more; with mute its kernel does.
func (g *gateways) silent(at netip.Addr, mute bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.words, at)
	g.mute[at] = mute
}

func (g *gateways) count(at netip.Addr) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asks[at]
}

// ask has another host ask this one.
func (g *gateways) ask(from netip.Addr, using peers.HostID) peers.Word {
	g.mu.Lock()
	word := g.word
	g.mu.Unlock()
	if word == nil {
		return peers.Word{} // the agent has stopped
	}
	return word(from, using)
}

// A pairOf gateways of the warehouse, as the shop's agent sees them.
type pairOf struct {
	*rig
	id [2]peers.HostID
	at [2]netip.Addr
}

var lan = netip.MustParsePrefix("10.20.0.0/24")

func newPairOf(t *testing.T) *pairOf {
	t.Helper()
	p := &pairOf{rig: newRig(t)}
	p.member()
	for i, name := range []string{"wh1", "wh2"} {
		p.c.Apply(peers.SetSite{Name: "warehouse"})
		p.id[i] = p.c.AddHostAt("warehouse", name, "198.51.100."+string(rune('1'+i))+":51820")
		p.at[i] = p.c.Inventory().Hosts[p.id[i]].Address
	}
	p.c.Apply(peers.SetSite{Name: "warehouse", Prefixes: []peers.SitePrefix{{Prefix: lan}}, Gateways: []string{"wh1", "wh2"}})
	for i := range p.at {
		p.probes.says(p.at[i], peers.Word{Acting: p.id[0], LAN: peers.LegUp, Home: i == 0})
	}
	p.uses("wh1", 5*time.Second)
	return p
}

// uses waits until the kernel sends what is for the warehouse's LAN to a gateway.
func (p *pairOf) uses(name string, within time.Duration) {
	p.t.Helper()
	k := p.key(name, 1)
	p.eventually("the LAN is reached by "+name, within, func() bool {
		state := p.state()
		link, ok := state.LinkNamed("wrn1")
		if !ok {
			return false
		}
		peer, ok := link.Peer(k)
		routed := slices.ContainsFunc(state.Routes, func(r peers.Route) bool { return r.Prefix == lan && r.Link == "wrn1" })
		return ok && routed && slices.Contains(peer.Allowed, lan)
	})
}

// TestFailOver: the controller is dead, the gateway that is used goes, and its LAN is reached by the other one; it
// comes back, and after a while is used again, at the word of the other one.
func TestFailOver(t *testing.T) {
	for name, breaks := range map[string]func(p *pairOf){
		"killed":    func(p *pairOf) { p.probes.silent(p.at[0], false) },
		"unplugged": func(p *pairOf) { p.probes.says(p.at[0], peers.Word{Acting: p.id[1], LAN: peers.LegDown}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPairOf(t)
				p.c.Down(true)
				time.Sleep(time.Minute)
				breaks(p)
				p.probes.says(p.at[1], peers.Word{Acting: p.id[1], LAN: peers.LegUp, Home: true})
				p.uses("wh2", 2500*time.Millisecond)
				p.eventually("the others are told", 2*time.Second, func() bool {
					p.probes.gateways.mu.Lock()
					defer p.probes.gateways.mu.Unlock()
					return p.probes.told[p.at[1]] == p.id[1]
				})
				p.probes.says(p.at[0], peers.Word{Acting: p.id[1], LAN: peers.LegUp})
				time.Sleep(10 * time.Minute)
				p.uses("wh2", 0)
				p.probes.says(p.at[1], peers.Word{Acting: p.id[0], LAN: peers.LegUp, Home: true})
				p.uses("wh1", time.Second)
			})
		})
	}
}

// TestAgentOfGatewayRestarts: a gateway whose agent is away stays, and so does what a new agent of this host finds.
func TestAgentOfGatewayRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPairOf(t)
		p.probes.silent(p.at[0], true)
		time.Sleep(time.Minute)
		p.uses("wh1", 0)
		p.probes.silent(p.at[0], false)
		p.uses("wh2", 2500*time.Millisecond)
		p.c.Down(true)
		p.probes.says(p.at[0], peers.Word{Acting: p.id[1], LAN: peers.LegUp})
		p.probes.says(p.at[1], peers.Word{Acting: p.id[1], LAN: peers.LegUp, Home: true})
		p.restart()
		p.uses("wh2", 0)
		time.Sleep(10 * time.Minute)
		p.uses("wh2", 0)
	})
}

// TestScoutIsSparing: a gateway that does not act is asked seldom while the other one is well.
func TestScoutIsSparing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPairOf(t)
		time.Sleep(5 * time.Second)
		before := [2]int{p.probes.gateways.count(p.at[0]), p.probes.gateways.count(p.at[1])}
		time.Sleep(time.Minute)
		for i, want := range []int{120, 30} {
			if got := p.probes.gateways.count(p.at[i]) - before[i]; got < want-2 || got > want+2 {
				t.Errorf("gateway %d was asked %d times in a minute, want %d", i+1, got, want)
			}
		}
	})
}

// TestGateway: this host is the first gateway of its site, which has a virtual address.
func TestGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.background(func() { g.ask("accounting", g.other) })
		g.holds(true, 5*time.Second)
		if w := g.ask("accounting", g.self); w.Acting != g.self || !w.Home || w.LAN != peers.LegUp || w.Near != netip.MustParseAddr("10.20.0.2") {
			t.Errorf("its word is %+v", w)
		}

		g.leg(false) // the cable is pulled
		g.holds(false, 2*time.Second)
		if w := g.ask("accounting", g.other); w.LAN != peers.LegDown || w.Home || w.Acting != g.other {
			t.Errorf("without a cable its word is %+v", w)
		}
		g.probes.says(g.at, peers.Word{Acting: g.other, Home: true, LAN: peers.LegUp, Near: netip.MustParseAddr("10.20.0.3")})
		time.Sleep(2 * time.Second)
		g.leg(true)
		time.Sleep(time.Minute)
		g.holds(false, 0)

		g.probes.says(g.at, peers.Word{Acting: g.self, Home: true, LAN: peers.LegUp}) // hands over
		time.Sleep(5 * time.Second)
		g.holds(false, 0)
		g.probes.says(g.at, peers.Word{Acting: g.self, LAN: peers.LegUp}) // has done so
		g.holds(true, time.Second)
		g.restart()
		g.holds(true, 0)
	})
}

// TestDrain: first packets go to the other gateway as well, then the others are told, then the LAN moves.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.holds(true, 5*time.Second)
		var uses atomic.Pointer[peers.HostID]
		uses.Store(&g.self)
		g.background(func() { g.ask("accounting", *uses.Load()) })
		time.Sleep(5 * time.Second)
		var refuse, held atomic.Bool
		refuse.Store(true)
		g.kernel.Refuse(func(s peers.Step) error {
			double, ok := s.(peers.SetDoubling)
			if ok && refuse.Load() {
				return context.DeadlineExceeded
			}
			if ok {
				held.Store(double.Doubling.Held)
			}
			return nil
		})
		g.c.Apply(peers.DrainHost{ID: g.self, Drain: true})
		time.Sleep(2 * time.Second)
		if w := g.ask("accounting", g.self); w.Acting != g.self {
			t.Error("others are told before packets go to the other gateway")
		}
		refuse.Store(false)
		g.eventually("others are told", 4*time.Second, func() bool { return g.ask("accounting", g.self).Acting == g.other })
		if d := g.state().Doubling; !d.There {
			t.Error("packets do not go to the other gateway")
		}
		if !held.Load() {
			t.Error("copies may overtake while hosts change")
		}
		time.Sleep(20 * time.Second)
		g.holds(true, 0)
		if held.Load() {
			t.Error("one host does not change, and all others get what they get late")
		}
		uses.Store(&g.other)
		g.holds(false, 2*time.Second)
		g.probes.says(g.at, peers.Word{Acting: g.other, Home: true, LAN: peers.LegUp, Near: netip.MustParseAddr("10.20.0.3")})
		time.Sleep(time.Minute)
		if d := g.state().Doubling; !d.There {
			t.Error("hosts of the LAN that still send here are cut off")
		}
		g.c.Apply(peers.DrainHost{ID: g.self})
		g.eventually("no packet is sent twice", 5*time.Second, func() bool { return !g.state().Doubling.There })
		g.probes.silent(g.at, false)
		g.holds(true, 2500*time.Millisecond)
	})
}

// TestGatewayCutOff: a gateway that hears of nobody gives the address up, unless its fellow does not hear of anybody
// either.
func TestGatewayCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.holds(true, 5*time.Second)
		var there atomic.Bool
		there.Store(true)
		g.background(func() {
			if there.Load() {
				g.ask("accounting", g.self)
			}
		})
		time.Sleep(time.Minute)
		g.probes.says(g.at, peers.Word{Acting: g.self, Cut: true, LAN: peers.LegUp})
		there.Store(false)
		time.Sleep(time.Minute)
		g.holds(true, 0)
		g.probes.silent(g.at, false)
		g.holds(false, 3*time.Second)
		there.Store(true)
		g.holds(true, 3*time.Second)
	})
}

// TestNobodyAsks: where only the agents of other sites have gone, the gateway keeps the address, as what they have in their
// kernels goes on sending to it; its fellow would say that it hears of somebody, as it is asked seldom.
func TestNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.holds(true, 5*time.Second)
		accounting, _ := g.c.Inventory().HostNamed("accounting")
		var there atomic.Bool
		there.Store(true)
		g.background(func() {
			if there.Load() {
				g.ask("accounting", g.self)
			}
		})
		time.Sleep(time.Minute)
		g.probes.silent(accounting.Address, true)
		there.Store(false)
		time.Sleep(time.Minute)
		g.holds(true, 0)
		if g.probes.gateways.count(accounting.Address) == 0 {
			t.Error("nobody was asked")
		}
		g.probes.silent(accounting.Address, false)
		g.holds(false, 8*time.Second)
	})
}

// A gatewayRig is one whose host is the first gateway of its site.
type gatewayRig struct {
	*rig
	self, other peers.HostID
	at          netip.Addr
}

func newGateway(t *testing.T) *gatewayRig {
	t.Helper()
	g := &gatewayRig{rig: newRig(t)}
	g.member()
	self, _ := g.c.Inventory().HostNamed("shop1")
	g.self = self.ID
	g.c.Apply(peers.SetSite{Name: "accounting"})
	g.c.AddHostAt("accounting", "accounting", "198.51.100.9:51820")
	g.other = g.c.AddHostAt(self.Site, "shop2", "198.51.100.2:51820")
	g.at = g.c.Inventory().Hosts[g.other].Address
	g.leg(true)
	g.probes.says(g.at, peers.Word{Acting: g.self, LAN: peers.LegUp, Near: netip.MustParseAddr("10.20.0.3")})
	g.c.Apply(peers.SetSite{
		Name: self.Site, Prefixes: []peers.SitePrefix{{Prefix: lan}}, Gateways: []string{"shop1", "shop2"},
		Virtual: netip.MustParseAddr("10.20.0.1"),
	})
	return g
}

func (g *gatewayRig) leg(up bool) {
	g.kernel.SetForeign(peers.Foreign{Prefix: lan, Link: "lan0", Connected: true, Down: !up})
	virtual := slices.DeleteFunc(g.state().Local, func(l peers.Local) bool { return !l.Virtual })
	g.kernel.SetLocal(append(virtual, peers.Local{Prefix: netip.MustParsePrefix("10.20.0.2/24"), Link: "lan0"})...)
}

func (g *gatewayRig) ask(host string, using peers.HostID) peers.Word {
	h, _ := g.c.Inventory().HostNamed(host)
	return g.probes.ask(h.Address, using)
}

// background does something twice a second.
func (g *gatewayRig) background(f func()) {
	go func() {
		again := time.NewTicker(500 * time.Millisecond)
		defer again.Stop()
		for {
			select {
			case <-g.t.Context().Done():
				return
			case <-again.C:
				f()
			}
		}
	}()
}

func (g *gatewayRig) holds(want bool, within time.Duration) {
	g.t.Helper()
	g.eventually(map[bool]string{true: "it has the address", false: "it has the address no more"}[want], within, func() bool {
		return want == slices.ContainsFunc(g.state().Local, func(l peers.Local) bool {
			return l == peers.Local{Prefix: netip.MustParsePrefix("10.20.0.1/32"), Link: "lan0", Virtual: true}
		})
	})
}

// TestSiteUnreachable: while no gateway is fit, nothing moves, and status says why.
func TestSiteUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPairOf(t)
		p.probes.silent(p.at[0], false)
		p.probes.says(p.at[1], peers.Word{Acting: p.id[0], LAN: peers.LegDown})
		p.eventually("it is a problem", 10*time.Second, func() bool { return strings.Contains(codes(p.status()), "site-unreachable") })
		p.uses("wh1", 0)
		s := p.status().Sites[0]
		if s.Acting != "wh1" || s.Gateways[0].Why != "does not answer" || s.Gateways[1].Why != "its link to the LAN is down" {
			t.Errorf("status says %+v", s)
		}
		p.probes.says(p.at[1], peers.Word{Acting: p.id[1], LAN: peers.LegUp, Home: true})
		p.uses("wh2", 5*time.Second)
		p.eventually("it is none any more", time.Second, func() bool { return !strings.Contains(codes(p.status()), "site-unreachable") })
	})
}
