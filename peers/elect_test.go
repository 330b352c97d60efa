package peers_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
)

const round = 500 * time.Millisecond

// A ward is a site with gateways and hosts elsewhere that use it. Each looks after all gateways once a round.
type ward struct {
	t     *testing.T
	now   time.Time
	order []peers.HostID
	gates map[peers.HostID]*gate
	users []*user
	slow  peers.HostID // looks once in four rounds
	round int
	deaf  func(asker, gateway peers.HostID) bool // the way between two is broken
}

type gate struct {
	user
	dead, stopped, unplugged, drained bool
	silent                            bool                          // nobody in its LAN answers
	uses                              map[peers.HostID]peers.HostID // by asker
}

type user struct {
	id     peers.HostID
	seen   map[peers.HostID]peers.Observed
	choice peers.Choice
	moves  []time.Time
}

func newWard(t *testing.T, gateways, users int) *ward {
	w := &ward{
		t: t, now: time.Unix(1_000_000, 0), gates: map[peers.HostID]*gate{},
		deaf: func(peers.HostID, peers.HostID) bool { return false },
	}
	for i := range gateways {
		id := peers.HostID(fmt.Sprintf("gw%d", i+1))
		w.order = append(w.order, id)
		w.gates[id] = &gate{user: user{id: id, seen: map[peers.HostID]peers.Observed{}}, uses: map[peers.HostID]peers.HostID{}}
	}
	for i := range users {
		w.users = append(w.users, &user{id: peers.HostID(fmt.Sprintf("host%d", i+1)), seen: map[peers.HostID]peers.Observed{}})
	}
	return w
}

func (w *ward) electorate(u *user) peers.Electorate {
	e := peers.Electorate{Gateways: w.order, Seen: u.seen}
	if g := w.gates[u.id]; g != nil && &g.user == u {
		e.Self, e.Moved = u.id, !g.used()
	}
	return e
}

func (g *gate) used() bool {
	for _, id := range g.uses {
		if id == g.id {
			return true
		}
	}
	return false
}

func (w *ward) word(g *gate) peers.Word {
	e := w.electorate(&g.user)
	word := peers.Word{
		Acting: e.Says(g.choice), LAN: peers.LegUp, Draining: g.drained, Home: g.choice.Gateway == g.id, Used: g.used(),
	}
	if g.unplugged || g.silent {
		word.LAN, word.Silent = peers.LegDown, !g.unplugged
	}
	return word
}

func (w *ward) look(u *user) {
	for _, id := range w.order {
		g, was := w.gates[id], u.seen[id]
		switch {
		case id == u.id:
			u.seen[id] = was.Answered(w.word(g), w.now)
		case g.dead || w.deaf(u.id, id):
			u.seen[id] = was.Silent(w.now)
			delete(g.uses, u.id)
		case g.stopped:
			u.seen[id] = was.Refused(w.now)
		default:
			u.seen[id] = was.Answered(w.word(g), w.now)
			if w.gates[u.id] == nil {
				g.uses[u.id] = u.choice.Gateway
			}
		}
	}
	e := w.electorate(u)
	next := e.Elect(u.choice, w.now)
	if u.choice.Gateway != "" && next.Gateway != u.choice.Gateway {
		u.moves = append(u.moves, w.now)
	}
	w.holds(u, next)
	u.choice = next
}

// holds checks what holds after every election.
func (w *ward) holds(u *user, next peers.Choice) {
	w.t.Helper()
	was := u.seen[u.choice.Gateway]
	if next.Gateway != u.choice.Gateway && u.choice.Gateway != "" && was.Fit && !was.Word.Draining && u.seen[u.id].Word.Home {
		return // to give way to a rival
	}
	if is := u.seen[next.Gateway]; next.Gateway != "" && !is.Fit && is.Missed >= peers.MissedMost {
		for id, other := range u.seen {
			if other.Fit {
				w.t.Fatalf("%s stays at %s, which is lost, while %s is fit", u.id, next.Gateway, id)
			}
		}
	}
}

// rounds lets all look n times; gateways that are dead or without an agent do not.
func (w *ward) rounds(n int, each ...func()) {
	w.t.Helper()
	for range n {
		w.now = w.now.Add(round)
		w.round++
		for _, f := range each {
			f()
		}
		for _, id := range w.order {
			if g := w.gates[id]; !g.dead && !g.stopped {
				w.look(&g.user)
			}
		}
		for _, u := range w.users {
			if u.id != w.slow || w.round%4 == 0 {
				w.look(u)
			}
		}
	}
}

// agree checks that everybody has the same choice.
func (w *ward) agree(want peers.HostID) {
	w.t.Helper()
	for _, id := range w.order {
		if g := w.gates[id]; !g.dead && !g.stopped && g.choice.Gateway != want {
			w.t.Errorf("%s holds %q to be acting, want %s; it sees %+v", id, g.choice.Gateway, want, g.seen)
		}
	}
	for _, u := range w.users {
		if u.choice.Gateway != want {
			w.t.Errorf("%s uses %q, want %s; it sees %+v", u.id, u.choice.Gateway, want, u.seen)
		}
	}
}

func (w *ward) moves() (n int) {
	for _, u := range w.users {
		n += len(u.moves)
	}
	return n
}

// restart is a gateway that comes up again and remembers nothing.
func (g *gate) restart() {
	*g = gate{user: user{id: g.id, seen: map[peers.HostID]peers.Observed{}}, uses: map[peers.HostID]peers.HostID{}}
}

func TestElectFailOver(t *testing.T) {
	for name, c := range map[string]struct{ breaks, mends func(w *ward, g *gate) }{
		"killed":    {func(_ *ward, g *gate) { g.dead = true }, func(_ *ward, g *gate) { g.restart() }},
		"unplugged": {func(_ *ward, g *gate) { g.unplugged = true }, func(_ *ward, g *gate) { g.unplugged = false }},
		"silent":    {func(_ *ward, g *gate) { g.silent = true }, func(_ *ward, g *gate) { g.silent = false }},
		"cut off": {
			func(w *ward, g *gate) {
				w.deaf = func(a, b peers.HostID) bool { return a == g.id || b == g.id }
			},
			func(w *ward, _ *gate) { w.deaf = func(a, b peers.HostID) bool { return false } },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t, 2, 5)
			w.rounds(4)
			w.agree("gw1")
			c.breaks(w, w.gates["gw1"])
			w.rounds(5)
			for _, u := range w.users {
				if u.choice.Gateway != "gw2" {
					t.Errorf("%s still uses %s", u.id, u.choice.Gateway)
				}
			}
			if got := w.gates["gw2"].choice.Gateway; got != "gw2" {
				t.Errorf("gw2 holds %s to be acting", got)
			}
			c.mends(w, w.gates["gw1"])
			w.rounds(50)
			if n := w.moves(); n != 5 {
				t.Errorf("%d moves within %v of 5 hosts: %v", n, 25*time.Second, w.users[0].moves)
			}
			w.rounds(60)
			w.agree("gw1")
		})
	}
}

// TestElectAgentRestart: an agent that is away moves nothing, before and after.
func TestElectAgentRestart(t *testing.T) {
	w := newWard(t, 2, 3)
	w.rounds(4)
	w.gates["gw1"].stopped = true
	w.rounds(100)
	w.gates["gw1"].restart()
	w.gates["gw1"].choice = peers.Choice{Gateway: "gw1", At: w.now} // as the kernel has it
	w.rounds(100)
	w.agree("gw1")
	if n := w.moves() + len(w.gates["gw2"].moves); n != 0 {
		t.Errorf("%d moves", n)
	}
}

// TestElectDrain: the LAN moves after all hosts, and nothing moves back before it is said to.
func TestElectDrain(t *testing.T) {
	w := newWard(t, 3, 4)
	w.rounds(4)
	w.agree("gw1")
	w.gates["gw1"].drained, w.slow = true, "host3"
	w.rounds(20, func() {
		if w.gates["gw2"].choice.Gateway == "gw2" && w.gates["gw1"].used() {
			t.Fatal("the LAN has moved while a host sends to the draining gateway")
		}
	})
	w.agree("gw2")
	w.rounds(200)
	w.agree("gw2")
	w.gates["gw3"].dead = true
	w.rounds(5)
	w.gates["gw2"].drained = true
	w.rounds(20)
	w.agree("gw2") // both are drained: there is no better one
	w.gates["gw1"].drained = false
	w.rounds(70)
	w.agree("gw1")
}

// TestElectRest: traffic that has moved stays for a while, although another gateway has been fit for longer.
func TestElectRest(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	long := now.Add(-time.Hour)
	e := peers.Electorate{Gateways: []peers.HostID{"gw1", "gw2"}, Seen: map[peers.HostID]peers.Observed{
		"gw1": peers.Observed{}.Answered(peers.Word{}, long), "gw2": peers.Observed{}.Answered(peers.Word{Acting: "gw1"}, long),
	}}
	for ago, want := range map[time.Duration]peers.HostID{peers.HoldDown - 1: "gw2", peers.HoldDown: "gw1"} {
		if got := e.Elect(peers.Choice{Gateway: "gw2", At: now.Add(-ago)}, now); got.Gateway != want {
			t.Errorf("%v after the last move: %s, want %s", ago, got.Gateway, want)
		}
	}
}

// TestElectDrainWithoutOther: who is drained serves where nobody else does.
func TestElectDrainWithoutOther(t *testing.T) {
	w := newWard(t, 2, 2)
	w.rounds(4)
	w.gates["gw1"].drained = true
	w.rounds(10)
	w.agree("gw2")
	w.gates["gw2"].dead = true
	w.rounds(5)
	w.agree("gw1")
}

// TestElectStale: who has handed over does not take what it knew before for an invitation to come back.
func TestElectStale(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	long := now.Add(-time.Hour)
	e := peers.Electorate{Self: "gw1", Gateways: []peers.HostID{"gw1", "gw2"}, Moved: true, Seen: map[peers.HostID]peers.Observed{
		"gw1": peers.Observed{}.Answered(peers.Word{Draining: true, Home: true}, long),
		"gw2": peers.Observed{}.Answered(peers.Word{Acting: "gw1"}, long),
	}}
	c := e.Elect(peers.Choice{Gateway: "gw1", To: "gw2"}, now)
	for range 3 {
		if c = e.Elect(c, now); c.Gateway != "gw2" {
			t.Fatalf("after the handover it is %s", c.Gateway)
		}
	}
}

// TestElectRivals: two gateways that did not hear of each other for a while.
func TestElectRivals(t *testing.T) {
	w := newWard(t, 2, 3)
	w.rounds(4)
	w.deaf = func(a, b peers.HostID) bool { return w.gates[a] != nil && w.gates[b] != nil }
	w.rounds(10)
	if w.gates["gw2"].choice.Gateway != "gw2" || w.gates["gw1"].choice.Gateway != "gw1" {
		t.Fatal("they do not both hold themselves to be acting")
	}
	w.deaf = func(a, b peers.HostID) bool { return false }
	w.rounds(3)
	w.agree("gw1")
	if n := w.moves(); n != 0 {
		t.Errorf("%d moves of hosts that always reached both", n)
	}
}

// TestElectFlapping: a gateway that comes and goes moves traffic once in HoldDown at most, for any sequence, as long
// as another one stays.
func TestElectFlapping(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWard(t, 2+int(seed%2), 3)
		flapping := w.gates[w.order[r.IntN(len(w.order))]]
		w.rounds(4)
		w.rounds(600, func() {
			if r.IntN(6) == 0 {
				switch r.IntN(3) {
				case 0:
					if flapping.dead = !flapping.dead; !flapping.dead {
						flapping.restart()
					}
				case 1:
					flapping.unplugged, flapping.silent = !flapping.unplugged, r.IntN(2) == 0
				case 2:
					broken := r.IntN(2) == 0
					one := w.users[r.IntN(len(w.users))].id
					w.deaf = func(a, b peers.HostID) bool { return broken && a == one && b == flapping.id }
				}
			}
		})
		for _, u := range w.users {
			for i := 1; i < len(u.moves); i++ {
				if gap := u.moves[i].Sub(u.moves[i-1]); gap < peers.HoldDown {
					t.Fatalf("seed %d: %s moved twice within %v", seed, u.id, gap)
				}
			}
		}
	}
}

// TestElectConverges: whatever was broken, when it is whole again all agree on the first gateway, and one takes what
// the LAN sends.
func TestElectConverges(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 2))
		w := newWard(t, 2+int(seed%3), 4)
		broken := map[[2]peers.HostID]bool{}
		w.deaf = func(a, b peers.HostID) bool { return broken[[2]peers.HostID{a, b}] || broken[[2]peers.HostID{b, a}] }
		w.rounds(200, func() { w.harm(r, broken) })
		clear(broken)
		for _, id := range w.order {
			g := w.gates[id]
			if g.dead || g.stopped {
				g.restart()
			}
			g.unplugged, g.silent, g.drained = false, false, false
		}
		w.rounds(300)
		w.agree("gw1")
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func (w *ward) harm(r *rand.Rand, broken map[[2]peers.HostID]bool) {
	g := w.gates[w.order[r.IntN(len(w.order))]]
	switch r.IntN(41) {
	case 0:
		if g.dead = !g.dead; !g.dead {
			g.restart()
		}
	case 1:
		g.unplugged = !g.unplugged
	case 2:
		g.drained = !g.drained
	case 3:
		broken[[2]peers.HostID{w.users[r.IntN(len(w.users))].id, g.id}] = r.IntN(2) == 0
	case 4:
		broken[[2]peers.HostID{w.order[r.IntN(len(w.order))], g.id}] = r.IntN(2) == 0
	case 5:
		g.silent = !g.silent
	}
}

// TestElectHearsay: two gateways that follow each other, as for a moment in each handover, do not go on giving each
// other's former word back: each says whom it follows.
func TestElectHearsay(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	fit := func(w peers.Word) peers.Observed {
		w.LAN = peers.LegUp
		return peers.Observed{}.Answered(w, now)
	}
	e := peers.Electorate{Self: "old", Gateways: []peers.HostID{"old", "new"}, Seen: map[peers.HostID]peers.Observed{
		"old": fit(peers.Word{Draining: true}), "new": fit(peers.Word{Acting: "old"}),
	}}
	if says := e.Says(peers.Choice{Gateway: "new"}); says != "new" {
		t.Errorf("the gateway that has handed over says %q, which it has from who is to take over", says)
	}
	e.Seen["new"] = fit(peers.Word{Acting: "old", Home: true})
	if says := e.Says(peers.Choice{Gateway: "new"}); says != "old" {
		t.Errorf("the gateway says %q, and the one that acts %q", says, "old")
	}
}
