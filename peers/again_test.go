package peers_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// TestWhoBuildsAgainStarts: of two hosts the later one starts the handshake, and the earlier one where it has
// lost its interface.
func TestWhoBuildsAgainStarts(t *testing.T) {
	peer := somePeer(t)
	private, err := key.NewPrivate(strings.NewReader(strings.Repeat("k", key.Size)))
	if err != nil {
		t.Fatal(err)
	}
	plan := peers.Plan{
		Mesh:       peers.PlanMesh{Keepalive: 25, Overlay: netip.MustParsePrefix("10.90.0.0/16")},
		Self:       peers.Self{Address: netip.MustParseAddr("10.90.0.1"), Joined: peer.Joined - 1},
		Interfaces: []peers.Interface{{Generation: 1, Name: "wrn1", Port: 51821, MTU: 1420}},
		Peers:      []peers.Peer{peer},
		Private:    peers.PrivateByGen{1: private},
	}
	starts := func(s peers.State, p peers.Plan) bool {
		for _, step := range peers.Diff(s, p) {
			if set, ok := step.(peers.SetPeer); ok {
				return set.Keepalive != nil
			}
		}
		t.Fatal("no step sets the peer")
		return false
	}
	again := plan
	again.Again = 1
	stands := peers.State{Links: []peers.Link{{Name: "wrn1", Backend: "kernel"}}}
	rotating := again
	rotating.Interfaces = append([]peers.Interface{}, again.Interfaces[0], peers.Interface{Generation: 2, Name: "wrn0"})
	rotating.Private = peers.PrivateByGen{1: private, 2: privateOf("shop", 2)}
	next := rotating
	next.Peers = []peers.Peer{peer}
	next.Peers[0].Keys = []peers.HostKey{keyOf("warehouse", 2)}
	both := next
	both.Again = 2
	for _, c := range []struct {
		name  string
		state peers.State
		plan  peers.Plan
		want  bool
	}{
		{"first time", peers.State{}, plan, false},
		{"interface lost", peers.State{}, again, true},
		{"interface stands, peer is new", stands, again, false},
		{"rotation, older interface lost", peers.State{}, rotating, true},
		{"rotation, newer interface is new", stands, next, false},
		{"rotation, newer interface lost", stands, both, true},
	} {
		if got := starts(c.state, c.plan); got != c.want {
			t.Errorf("%s: starts %v, want %v", c.name, got, c.want)
		}
	}
}
