package agent_test

import (
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestPlanIsAppliedAtOnce: no pause, no debounce, and one peer costs steps about one peer.
func TestPlanIsAppliedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		began := time.Now()
		r.c.AddHost("branch", "198.51.100.4:51820")
		synctest.Wait()
		if took := time.Since(began); took > 0 {
			t.Fatalf("waited %v", took)
		}
		got := r.kernel.taken()
		if len(got) != 3 || !strings.Contains(got[0], "# branch") {
			t.Errorf("steps %q, want one peer and its two routes", got)
		}
		r.c.Apply(peers.SetHostState{ID: hostID(r, "branch"), State: peers.HostRevoked})
		synctest.Wait()
		if took := time.Since(began); took > 0 {
			t.Fatalf("waited %v", took)
		}
		if got := r.kernel.taken(); len(got) != 3 || !strings.Contains(got[2], "remove") {
			t.Errorf("steps %q, want its two routes and the peer", got)
		}
	})
}

func hostID(r *rig, name string) peers.HostID {
	r.t.Helper()
	h, ok := r.c.Inventory().HostNamed(name)
	if !ok {
		r.t.Fatalf("no host %s", name)
	}
	return h.ID
}

func keyFiles(r *rig) string {
	r.t.Helper()
	found, err := filepath.Glob(filepath.Join(r.dir, "key-*"))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return strings.Join(found, " ")
}

// TestGenerations: a new one gets a key, which is signed and reported; a retired one loses it.
func TestGenerations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		id := r.status().ID
		r.c.Apply(peers.StartGeneration{Number: 2})
		r.eventually("the key is reported", time.Second, func() bool { return len(r.c.Inventory().Hosts[id].Keys) == 2 })
		s := r.state()
		if len(s.Links) != 2 || keyFiles(r) != "key-1 key-2" {
			t.Errorf("%d links, files %s", len(s.Links), keyFiles(r))
		}
		if st := r.status(); st.Generation != 2 || len(st.Interfaces) != 2 {
			t.Errorf("generation %d, interfaces %+v", st.Generation, st.Interfaces)
		}
		// The others are not there yet: traffic stays where it is.
		for _, p := range r.status().Peers {
			if p.Interface != "wrn1" || p.State != wire.PeerUp {
				t.Errorf("%s is %s on %s", p.Host, p.State, p.Interface)
			}
		}
		r.c.Apply(peers.RetireGeneration{Number: 1})
		r.eventually("the old key is gone", time.Second, func() bool { return keyFiles(r) == "key-2" })
		if s := r.state(); len(s.Links) != 1 || s.Links[0].Name != "wrn0" {
			t.Errorf("links %+v", s.Links)
		}
	})
}

// TestKeyStaysWhileTheInterfaceDoes: the kernel refuses to remove the old interface, so its key is needed.
func TestKeyStaysWhileTheInterfaceDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		r.c.Apply(peers.StartGeneration{Number: 2})
		synctest.Wait()
		r.kernel.Refuse(func(s peers.Step) error {
			if _, ok := s.(peers.DelLink); ok {
				return errors.New("busy")
			}
			return nil
		})
		r.c.Apply(peers.RetireGeneration{Number: 1})
		time.Sleep(time.Minute)
		synctest.Wait()
		if keyFiles(r) != "key-1 key-2" {
			t.Errorf("files %s", keyFiles(r))
		}
		r.kernel.Refuse(nil)
		r.eventually("the old key is gone", 31*time.Second, func() bool { return keyFiles(r) == "key-2" })
	})
}

// TestUnsignedPeerIsKeptOut: a controller that swaps a peer's key is caught, and the others go on.
func TestUnsignedPeerIsKeptOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		plan, err := r.c.Inventory().Plan(r.status().ID)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(plan.Peers, func(p peers.Peer) bool { return p.Name == "warehouse" })
		swapped := plan.Peers[i]
		swapped.Keys = slices.Clone(swapped.Keys)
		swapped.Keys[0].Public[0] ^= 1
		r.c.Say(wire.Down{Kind: wire.DownDelta, Revision: plan.Revision + 1, Peers: []peers.Peer{swapped}})
		synctest.Wait()
		s := r.status()
		if codes(s) != "peer-refused" || len(s.Peers) != 1 || s.Peers[0].Host != "accounting" {
			t.Errorf("problems %s, peers %+v", codes(s), s.Peers)
		}
	})
}

// TestOwnNetworkWins: a mesh never beats a host's own network, whenever that comes.
func TestOwnNetworkWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		r.kernel.SetForeign(peers.Foreign{Prefix: netip.MustParsePrefix("10.90.0.0/30"), Link: "docker0"})
		r.eventually("the routes are withdrawn", 2*time.Second, func() bool {
			return !slices.ContainsFunc(r.state().Routes, func(p peers.Route) bool { return p.Prefix.Addr().Is4() && p.Link != "" })
		})
		s := r.status()
		if codes(s) != "route-conflict route-conflict" || s.State != wire.StateDegraded || !strings.Contains(s.Problems[0].Hint, "docker0") {
			t.Errorf("state %s, problems %+v", s.State, s.Problems)
		}
		r.kernel.SetForeign()
		r.eventually("they are back", 2*time.Second, func() bool { return r.status().State == wire.StateOK })
	})
}

// TestRefusedStep: what the kernel refuses is shown, tried again with pauses, and holds nothing else up.
func TestRefusedStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		refusals := 0
		r.kernel.Refuse(func(s peers.Step) error {
			if set, ok := s.(peers.SetRoute); ok && set.Route.Prefix.Addr() == netip.MustParseAddr("10.90.0.4") {
				refusals++
				return errors.New("no route for you")
			}
			return nil
		})
		r.c.AddHost("branch", "198.51.100.4:51820")
		synctest.Wait()
		s := r.status()
		if codes(s) != "apply-failed" || !strings.Contains(s.Problems[0].Message, "no route for you") || s.State != wire.StateDegraded {
			t.Errorf("state %s, problems %+v", s.State, s.Problems)
		}
		if !slices.ContainsFunc(r.state().Routes, func(p peers.Route) bool { return p.Prefix.String() == "fd42:1:2::4/128" }) {
			t.Error("the step after the refused one was not taken")
		}
		lines := strings.Count(r.log.String(), "\n")
		time.Sleep(time.Hour)
		synctest.Wait()
		if refusals < 60 || refusals > 140 {
			t.Errorf("tried %d times in an hour", refusals)
		}
		if n := strings.Count(r.log.String(), "\n") - lines; n > 0 {
			t.Errorf("%d more log lines", n)
		}
		// A new plan is tried at once.
		before := refusals
		r.c.AddHost("depot", "198.51.100.5:51820")
		synctest.Wait()
		if refusals == before || refusals > before+3 || len(r.state().Links[0].Peers) != 4 {
			t.Errorf("a new plan had to wait")
		}
		r.kernel.Refuse(nil)
		r.eventually("it works", 31*time.Second, func() bool { return r.status().State == wire.StateOK })
	})
}

// TestKernelOutOfReach: the kernel cannot be asked for a while.
func TestKernelOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		r.kernel.set(func() { r.kernel.fail = errors.New("netlink: out of order") })
		time.Sleep(time.Minute)
		if s := r.status(); codes(s) != "backend" || s.State != wire.StateDegraded {
			t.Errorf("state %s, problems %s", s.State, codes(s))
		}
		r.kernel.set(func() { r.kernel.fail = nil })
		r.eventually("it can again", 6*time.Second, func() bool { return r.status().State == wire.StateOK })
		if got := r.kernel.taken(); len(got) > 0 {
			t.Errorf("steps %q", got)
		}
	})
}

// TestRestoredController: an older backup is running. What it says counts, and the log says what happened.
func TestRestoredController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		plan, err := r.c.Inventory().Plan(r.status().ID)
		if err != nil {
			t.Fatal(err)
		}
		own := plan
		own.Peers = nil
		r.c.Say(wire.Down{Kind: wire.DownSnapshot, Revision: 3, Plan: &own, Peers: plan.Peers[:1]})
		synctest.Wait()
		if s := r.status(); s.Revision != 3 || len(s.Peers) != 1 {
			t.Errorf("revision %d, %d peers", s.Revision, len(s.Peers))
		}
		if !strings.Contains(r.log.String(), "restored from a backup") {
			t.Errorf("nobody was told:\n%s", r.log)
		}
	})
}

func TestMassRemovalIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		own, err := r.c.Inventory().PlanAlone(r.status().ID)
		if err != nil {
			t.Fatal(err)
		}
		r.c.Say(wire.Down{Kind: wire.DownSnapshot, Revision: own.Revision + 1, Plan: &own})
		synctest.Wait()
		if !strings.Contains(r.log.String(), "removes most peers") || len(r.status().Peers) != 0 {
			t.Errorf("%d peers, log:\n%s", len(r.status().Peers), r.log)
		}
	})
}
