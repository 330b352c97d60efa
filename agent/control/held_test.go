package control

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

const testPSK = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="

func own(edit ...func(*peers.Plan)) *peers.Plan {
	p := &peers.Plan{
		Mesh: peers.PlanMesh{
			ID: "m", Overlay: netip.MustParsePrefix("10.90.0.0/16"), Overlay6: netip.MustParsePrefix("fd00::/64"),
		},
		Self:       peers.Self{ID: "self", Address: netip.MustParseAddr("10.90.0.1"), Address6: netip.MustParseAddr("fd00::1")},
		Interfaces: []peers.Interface{{Generation: 1, Name: "wrn1", Port: 51821, MTU: 1420}},
	}
	for _, f := range edit {
		f(p)
	}
	return p
}

func peerNamed(ids ...string) (out []peers.Peer) {
	for _, id := range ids {
		out = append(out, peers.Peer{ID: peers.HostID(id), Name: id})
	}
	return out
}

func psks(ids ...string) map[peers.Generation]map[peers.HostID]string {
	out := map[peers.Generation]map[peers.HostID]string{1: {}}
	for _, id := range ids {
		out[1][peers.HostID(id)] = testPSK
	}
	return out
}

// describe is a held plan in one line.
func describe(h *Held) string {
	var b strings.Builder
	for _, p := range h.Plan.Peers {
		b.WriteString(string(p.ID) + "/" + p.Site)
		if _, ok := h.Plan.PSKs[1][p.ID]; ok {
			b.WriteString("+psk")
		}
		b.WriteString(" ")
	}
	return strings.TrimSpace(b.String())
}

func TestMessagesAddUp(t *testing.T) {
	elsewhere := peerNamed("c")
	elsewhere[0].Site = "moved"
	steps := []struct {
		d    wire.Down
		want string
	}{
		{wire.Down{Kind: wire.DownSnapshot, Revision: 3, Plan: own(), Peers: peerNamed("c", "a"), PSKs: psks("c", "a")}, "a/+psk c/+psk"},
		{wire.Down{Kind: wire.DownDelta, Revision: 4, Peers: peerNamed("b"), PSKs: psks("b")}, "a/+psk b/+psk c/+psk"},
		{wire.Down{Kind: wire.DownDelta, Revision: 5, Peers: elsewhere}, "a/+psk b/+psk c/moved+psk"},
		{wire.Down{Kind: wire.DownDelta, Revision: 6, Remove: []peers.HostID{"a", "unknown"}}, "b/+psk c/moved+psk"},
		{wire.Down{Kind: wire.DownCurrent, Revision: 8}, "b/+psk c/moved+psk"},
		{wire.Down{Kind: wire.DownDelta, Revision: 9, Plan: own(func(p *peers.Plan) { p.Interfaces[0].MTU = 1380 })}, "b/+psk c/moved+psk"},
		{wire.Down{Kind: wire.DownSnapshot, Revision: 2, Plan: own(), Peers: peerNamed("z")}, "z/"},
	}
	var held *Held
	for i, s := range steps {
		before := held
		was := ""
		if before != nil {
			was = describe(before)
		}
		next, err := held.next(&s.d, "self", "m")
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if got := describe(next); got != s.want || next.Plan.Revision != s.d.Revision {
			t.Errorf("step %d: revision %d, %q; want %d, %q", i, next.Plan.Revision, got, s.d.Revision, s.want)
		}
		if before != nil && describe(before) != was {
			t.Errorf("step %d changed the plan before it to %q", i, describe(before))
		}
		held = next
	}
}

func TestRetiredGenerationTakesItsKeysAlong(t *testing.T) {
	two := own(func(p *peers.Plan) {
		p.Interfaces = append(p.Interfaces, peers.Interface{Generation: 2, Name: "wrn0", Port: 51820, MTU: 1420})
	})
	first := wire.Down{Kind: wire.DownSnapshot, Revision: 1, Plan: two, Peers: peerNamed("a"), PSKs: psks("a")}
	held, err := (*Held)(nil).next(&first, "self", "m")
	if err != nil {
		t.Fatal(err)
	}
	only := own(func(p *peers.Plan) {
		p.Interfaces = []peers.Interface{{Generation: 2, Name: "wrn0", Port: 51820, MTU: 1420}}
	})
	held, err = held.next(&wire.Down{Kind: wire.DownDelta, Revision: 2, Plan: only}, "self", "m")
	if err != nil {
		t.Fatal(err)
	}
	if len(held.Plan.PSKs[1]) > 0 {
		t.Error("pre-shared keys of a generation that is over are kept")
	}
}

func TestNonsenseIsRefusedWhole(t *testing.T) {
	held := &Held{Plan: *own()}
	held.Plan.Revision = 5
	set := func(f func(*peers.Plan)) *peers.Plan { return own(f) }
	cases := map[string]struct {
		from *Held
		d    wire.Down
	}{
		"snapshot without plan":  {held, wire.Down{Kind: wire.DownSnapshot}},
		"delta from nothing":     {nil, wire.Down{Kind: wire.DownDelta, Revision: 9}},
		"current from nothing":   {nil, wire.Down{Kind: wire.DownCurrent, Revision: 9}},
		"delta into the past":    {held, wire.Down{Kind: wire.DownDelta, Revision: 4}},
		"unknown kind":           {held, wire.Down{Kind: "dance"}},
		"somebody else's":        {held, wire.Down{Kind: wire.DownSnapshot, Plan: set(func(p *peers.Plan) { p.Self.ID = "other" })}},
		"another mesh's":         {held, wire.Down{Kind: wire.DownSnapshot, Plan: set(func(p *peers.Plan) { p.Mesh.ID = "other" })}},
		"no interface":           {held, wire.Down{Kind: wire.DownSnapshot, Plan: set(func(p *peers.Plan) { p.Interfaces = nil })}},
		"interface of no slot":   {held, wire.Down{Kind: wire.DownDelta, Revision: 6, Plan: set(func(p *peers.Plan) { p.Interfaces[0].Name = "eth0" })}},
		"generation 0":           {held, wire.Down{Kind: wire.DownSnapshot, Plan: set(func(p *peers.Plan) { p.Interfaces[0].Generation = 0 })}},
		"port 0":                 {held, wire.Down{Kind: wire.DownSnapshot, Plan: set(func(p *peers.Plan) { p.Interfaces[0].Port = 0 })}},
		"tiny MTU":               {held, wire.Down{Kind: wire.DownSnapshot, Plan: set(func(p *peers.Plan) { p.Interfaces[0].MTU = 68 })}},
		"no address":             {held, wire.Down{Kind: wire.DownSnapshot, Plan: set(func(p *peers.Plan) { p.Self.Address = netip.Addr{} })}},
		"a host twice":           {held, wire.Down{Kind: wire.DownSnapshot, Plan: own(), Peers: peerNamed("a", "b", "a")}},
		"its own peer":           {held, wire.Down{Kind: wire.DownSnapshot, Plan: own(), Peers: peerNamed("a", "self")}},
		"its own peer, by delta": {held, wire.Down{Kind: wire.DownDelta, Revision: 6, Peers: peerNamed("self")}},
		"broken pre-shared key": {held, wire.Down{
			Kind: wire.DownDelta, Revision: 6, PSKs: map[peers.Generation]map[peers.HostID]string{1: {"a": "x"}},
		}},
		"two generations on a slot": {held, wire.Down{Kind: wire.DownSnapshot, Plan: set(func(p *peers.Plan) {
			p.Interfaces = append(p.Interfaces, peers.Interface{Generation: 3, Name: "wrn1", Port: 51821, MTU: 1420})
		})}},
		"three interfaces": {held, wire.Down{Kind: wire.DownSnapshot, Plan: set(func(p *peers.Plan) {
			p.Interfaces = append(p.Interfaces, p.Interfaces[0], p.Interfaces[0])
		})}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got, err := c.from.next(&c.d, "self", "m"); err == nil {
				t.Errorf("became %+v", got)
			}
		})
	}
}

// FuzzDown: whatever a controller sends, a plan that is held is in order and every pre-shared key is whole.
func FuzzDown(f *testing.F) {
	for _, d := range []wire.Down{
		{Kind: wire.DownSnapshot, Revision: 7, Plan: own(), Peers: peerNamed("b", "a"), PSKs: psks("a", "b")},
		{Kind: wire.DownDelta, Revision: 8, Peers: peerNamed("c"), Remove: []peers.HostID{"a"}, PSKs: psks("c")},
		{Kind: wire.DownCurrent, Revision: 9},
		{Kind: wire.DownGoodbye, Fault: wire.NewFault(403, "revoked", "gone", "")},
	} {
		line, err := d.AppendLine(nil, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(line))
	}
	f.Add("{}\n")
	f.Add("\n\n[1]\n")
	f.Fuzz(func(t *testing.T, text string) {
		held := &Held{Plan: *own()}
		held.Plan.Peers = peerNamed("a", "d")
		in := newLines(strings.NewReader(text))
		for range 8 {
			d, err := in.next()
			if err != nil {
				return
			}
			next, err := held.next(d, "self", "m")
			if err != nil {
				continue
			}
			for i := 1; i < len(next.Plan.Peers); i++ {
				if next.Plan.Peers[i-1].ID >= next.Plan.Peers[i].ID {
					t.Fatalf("out of order: %s", describe(next))
				}
			}
			held = next
		}
	})
}

// TestRetiredPairs: what was told of pairs that may retire survives every other message, and only goes forward.
func TestRetiredPairs(t *testing.T) {
	rotating := func(p *peers.Plan) {
		p.Interfaces = append(p.Interfaces, peers.Interface{Generation: 2, Name: "wrn0", Port: 51820, MTU: 1420})
	}
	ended := func(p *peers.Plan) {
		p.Interfaces = []peers.Interface{{Generation: 2, Name: "wrn0", Port: 51820, MTU: 1420}}
	}
	retire := func(g peers.Generation, ids ...peers.HostID) wire.Down {
		return wire.Down{Kind: wire.DownRetire, Retire: &wire.Retire{Generation: g, Peers: ids}}
	}
	var h *Held
	if _, err := h.next(&wire.Down{Kind: wire.DownRetire, Retire: &wire.Retire{Generation: 1}}, "self", "m"); err == nil {
		t.Error("pairs retire in no plan")
	}
	for i, c := range []struct {
		d    wire.Down
		want string
	}{
		{wire.Down{Kind: wire.DownSnapshot, Revision: 1, Plan: own(), Peers: peerNamed("a", "b")}, "[]"},
		{retire(1, "a"), "[]"}, // no rotation runs
		{wire.Down{Kind: wire.DownDelta, Revision: 2, Plan: own(rotating)}, "[]"},
		{retire(1, "b"), "[b]"},
		{retire(1, "a", "b"), "[a b]"},
		{retire(2, "c"), "[a b]"}, // it is not the one that is left
		{wire.Down{Kind: wire.DownDelta, Revision: 3, Peers: peerNamed("b")}, "[a b]"},
		{wire.Down{Kind: wire.DownDelta, Revision: 4, Plan: own(rotating)}, "[a b]"},
		{wire.Down{Kind: wire.DownSnapshot, Revision: 5, Plan: own(rotating), Peers: peerNamed("a", "b")}, "[a b]"},
		{wire.Down{Kind: wire.DownDelta, Revision: 6, Plan: own(ended)}, "[]"},
	} {
		next, err := h.next(&c.d, "self", "m")
		if err != nil {
			t.Fatalf("%d, %s: %v", i, c.d.Kind, err)
		}
		if h = next; fmt.Sprint(h.Plan.Moved.Retired) != c.want {
			t.Errorf("%d, %s: retired %v, want %s", i, c.d.Kind, h.Plan.Moved.Retired, c.want)
		}
	}
}
