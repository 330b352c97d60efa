package controller_test

import (
	"net/http"
	"testing"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestGraph: a link is what those ends say of it that are there.
func TestGraph(t *testing.T) {
	s := newSite(t)
	a, b, c := s.join("a"), s.join("b"), s.join("c")
	graph := func() (g wire.Graph) {
		s.must(http.MethodGet, wire.PathGraph, nil, &g)
		return g
	}
	state := func(x, y string) string {
		for _, l := range graph().Links {
			if l.A == x && l.B == y {
				return l.State
			}
		}
		return "none"
	}
	if got := state("a", "b"); got != wire.LinkUnknown {
		t.Errorf("nobody is there, and the link is %s", got)
	}
	sa, _ := a.connect()
	sb, _ := b.connect()
	says := func(st *stream, of *machine, how string) {
		st.say(wire.Up{Kind: wire.UpReport, Report: &wire.Report{Peers: []wire.PeerReport{{ID: of.id(), Generation: 1, State: how}}}})
	}
	says(sa, b, wire.PeerUp)
	says(sb, a, wire.PeerDown)
	eventually(t, "one end says up", func() bool { return state("a", "b") == wire.LinkPartial })
	says(sb, a, wire.PeerUp)
	eventually(t, "both ends say up", func() bool { return state("a", "b") == wire.LinkUp })
	says(sa, c, wire.PeerDown)
	eventually(t, "the only end that is there says down", func() bool { return state("a", "c") == wire.LinkDown })
	s.must(http.MethodPut, wire.PathPolicy, wire.PolicyOrder{Policy: peers.Policy{Flows: []peers.Flow{}}}, nil)
	if g := graph(); len(g.Links) != 0 || len(g.Sites) == 0 || len(g.Sites[0].Hosts) != 3 {
		t.Errorf("nobody may talk to anybody: %+v", g)
	}
}
