package peers_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// rotating is the mesh of three in which all have a key of the second generation.
func rotating(t *testing.T) *peers.Inventory {
	t.Helper()
	inv := after(t, threeSites(t), peers.StartGeneration{Number: 2})
	for _, name := range []string{"shop", "warehouse", "accounting"} {
		inv = after(t, inv, peers.UpdateHost{ID: idOf(name), Keys: keysOf(name, 2)})
	}
	return inv
}

// TestRetiredPeerLeavesItsOldKey: with the one that is retired only the newer generation is left, and a peer that has no
// newer key keeps what it has.
func TestRetiredPeerLeavesItsOldKey(t *testing.T) {
	p := planOf(t, rotating(t), "shop").Retire(1, idOf("warehouse"), idOf("accounting"))
	at := slices.IndexFunc(p.Peers, func(peer peers.Peer) bool { return peer.Name == "accounting" })
	p.Peers[at].Keys = p.Peers[at].Keys[:1]
	for _, peer := range p.Remaining().Peers {
		_, old := peer.Key(1)
		if want := peer.Name == "accounting"; old != want {
			t.Errorf("%s has its key of generation 1: %v, want %v", peer.Name, old, want)
		}
	}
	if again := p.Retire(1, idOf("warehouse")); !again.Moved.Equal(p.Moved) {
		t.Errorf("to be told again changes %+v to %+v", p.Moved, again.Moved)
	}
	if other := p.Retire(2, "x"); !other.Moved.Equal(p.Moved) {
		t.Errorf("the end of the newest generation is taken for that of the older one: %+v", other.Moved)
	}
}

// TestTrafficDoesNotGoBack: what has taken the newer generation once does so without a proof, after a reboot.
func TestTrafficDoesNotGoBack(t *testing.T) {
	p := planOf(t, rotating(t), "shop").Route(idOf("warehouse"))
	links := map[string]string{}
	for _, step := range peers.Diff(peers.State{IPv6: true}, p) {
		if s, ok := step.(peers.SetRoute); ok {
			links[s.Route.Prefix.String()] = s.Route.Link
		}
	}
	inv := rotating(t)
	for name, want := range map[string]string{"warehouse": "wrn0", "accounting": "wrn1"} {
		if got := links[inv.Hosts[idOf(name)].Addresses()[0].String()]; got != want {
			t.Errorf("traffic to %s takes %q, want %s", name, got, want)
		}
	}
}

// TestWays: traffic takes the newer generation when all routes lead there, and not before.
func TestWays(t *testing.T) {
	p := planOf(t, rotating(t), "shop")
	k := applied(t, p)
	id := idOf("warehouse")
	if g := peers.Ways(k.state(), p)[id]; g != 1 {
		t.Errorf("before a handshake it takes generation %d", g)
	}
	k.links["wrn0"].peers[privateOf("warehouse", 2).Public()].LastHandshake = epoch
	if g, ok := peers.Ways(k.state(), p)[id]; ok {
		t.Errorf("with routes that have not moved it takes generation %d", g)
	}
	steps := slices.DeleteFunc(peers.Diff(k.state(), p), func(s peers.Step) bool {
		route, ok := s.(peers.SetRoute)
		return ok && route.Route.Prefix.Addr().Is6()
	})
	for _, s := range steps {
		if err := k.apply(s); err != nil {
			t.Fatal(err)
		}
	}
	if g, ok := peers.Ways(k.state(), p)[id]; ok {
		t.Errorf("with one route of two it takes generation %d", g)
	}
	for _, s := range peers.Diff(k.state(), p) {
		if err := k.apply(s); err != nil {
			t.Fatal(err)
		}
	}
	if g := peers.Ways(k.state(), p)[id]; g != 2 {
		t.Errorf("with all routes it takes generation %d", g)
	}
}

// TestWhoIsWaitedFor: a host that is away explains everything that is missing, one that is suspended nothing.
func TestWhoIsWaitedFor(t *testing.T) {
	inv := after(t, threeSites(t), peers.StartGeneration{Number: 2})
	r := peers.NewRotation(&inv.Mesh)
	presence := map[peers.HostID]peers.Presence{}
	progress := func() peers.Progress {
		return r.Progress(inv, func(id peers.HostID) peers.Presence { return presence[id] })
	}
	waits := func() map[string]peers.WaitReason {
		out := map[string]peers.WaitReason{}
		for _, w := range progress().Waiting {
			out[w.Host.Name] = w.Reason
		}
		return out
	}
	says := func(from, of string, answers, routed bool) {
		r.Hear(inv, idOf(from), []peers.Sighting{{Peer: idOf(of), Generation: 2, Answers: answers, Routed: routed}}, epoch)
	}
	for _, name := range []string{"shop", "warehouse", "accounting"} {
		r.Begin(idOf(name), true)
		if waits()[name] != peers.WaitKey {
			t.Errorf("%s has no key: %v", name, waits())
		}
	}
	for _, name := range []string{"shop", "warehouse"} {
		inv = after(t, inv, peers.UpdateHost{ID: idOf(name), Keys: keysOf(name, 2)})
	}
	presence[idOf("accounting")] = peers.Away
	says("shop", "warehouse", true, true)
	says("warehouse", "shop", true, false)
	if w := waits(); len(w) != 2 || w["accounting"] != peers.WaitOffline || w["warehouse"] != peers.WaitTraffic {
		t.Errorf("one is away, another one has not moved: %v", w)
	}
	says("warehouse", "shop", true, true)
	if ids := r.Settle(epoch.Add(-time.Second)); len(ids) != 0 {
		t.Errorf("%v are settled before their time", ids)
	}
	if p := progress(); p.Settled || p.Gone || p.Switched != 1 || p.Phase != peers.PhaseAnnounce {
		t.Errorf("while a pair rests and a host is away: %+v", p)
	}
	if ids := r.Settle(epoch); len(ids) != 2 || len(r.Retired(idOf("shop"), 0)) != 1 || r.Retired(idOf("shop"), 1) != nil {
		t.Errorf("%v are settled, and %v retired", ids, r.Retired(idOf("shop"), 0))
	}
	presence[idOf("accounting")] = peers.Gone
	if p := progress(); p.Settled || !p.Gone {
		t.Errorf("only who is gone is missing: %+v", p)
	}
	inv = after(t, inv, peers.SetHostState{ID: idOf("accounting"), State: peers.HostSuspended})
	if p := progress(); !p.Settled || len(p.Waiting) != 0 || p.Phase != peers.PhaseRetire {
		t.Errorf("who is suspended is waited for: %+v", p)
	}
}

// TestGoneDoesNotCoverOthers: that a host is gone is no reason to end a rotation in which others, who are there, do
// not reach each other on the newer generation.
func TestGoneDoesNotCoverOthers(t *testing.T) {
	inv := rotating(t)
	r := peers.NewRotation(&inv.Mesh)
	p := r.Progress(inv, func(id peers.HostID) peers.Presence {
		if id == idOf("accounting") {
			return peers.Gone
		}
		return peers.Online
	})
	if p.Settled || p.Gone {
		t.Errorf("shop and warehouse are forgotten: %+v", p)
	}
}

func TestRetireNamesWhoIsBehind(t *testing.T) {
	inv := after(t, threeSites(t), peers.StartGeneration{Number: 2}, peers.UpdateHost{ID: idOf("shop"), Keys: keysOf("shop", 2)})
	for _, ids := range [][]peers.HostID{{idOf("shop")}, {"nobody"}, {idOf("warehouse"), idOf("warehouse")}} {
		if _, err := inv.Apply(change(peers.RetireGeneration{Number: 1, Behind: ids})); err == nil {
			t.Errorf("%v are said to be behind", ids)
		}
	}
	inv, e, err := inv.Record(change(peers.RetireGeneration{Number: 1, Behind: []peers.HostID{idOf("warehouse")}, Cut: 1}))
	if err != nil {
		t.Fatal(err)
	}
	if hosts, cut := e.LeftBehind(); len(hosts) != 1 || hosts[0] != idOf("warehouse") || cut != 1 {
		t.Errorf("the entry says that %v are behind, and %d pairs have not moved", hosts, cut)
	}
	if told := e.Tell(); !strings.Contains(told, "pairs of hosts that had not moved and have no tunnel: 1") {
		t.Errorf("told as %q", told)
	}
	if p := planOf(t, inv, "shop"); len(p.Peers) != 0 {
		t.Errorf("who has no key is in the plan of others: %v", p.Peers)
	}
	inv = after(t, inv, peers.UpdateHost{ID: idOf("warehouse"), Keys: keysOf("warehouse", 2)})
	if p := planOf(t, inv, "shop"); len(p.Peers) != 1 {
		t.Errorf("who is back is not: %v", p.Peers)
	}
}
