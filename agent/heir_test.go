package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// named waits until the controller and the host agree on another id of the host than before.
func named(r *rig, before peers.HostID) {
	r.t.Helper()
	r.eventually("the host has its new identity", time.Minute, func() bool {
		h, ok := r.c.Inventory().HostNamed("shop1")
		s := r.status()
		return ok && h.ID != before && s.ID == h.ID && s.Controller.Connected && s.Revision == r.c.Inventory().Revision
	})
}

// undisturbed holds that nothing was done to the kernel and nothing is wrong.
func undisturbed(r *rig) {
	r.t.Helper()
	if steps := r.kernel.taken(); len(steps) > 0 {
		r.t.Errorf("a new identity took steps: %q", steps)
	}
	if s := r.status(); s.State != wire.StateOK || len(s.Problems) > 0 {
		r.t.Errorf("the host is %s: %+v", s.State, s.Problems)
	}
	for _, name := range []string{"identity.next", "identity.former"} {
		if _, err := os.Stat(filepath.Join(r.dir, name)); err == nil {
			r.t.Errorf("%s is still there", name)
		}
	}
}

// heirOf reads the next identity of a host whose agent is stopped.
func heirOf(r *rig) key.IdentityKey {
	r.t.Helper()
	files, err := store.Open(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	next, err := files.Heir()
	if err := errors.Join(err, files.Close()); err != nil {
		r.t.Fatal(err)
	}
	return next
}

// TestRekey: the host makes a new identity when it is asked, and its kernel is not touched.
func TestRekey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		id := r.status().ID
		r.kernel.taken()
		for range 2 {
			r.c.Apply(peers.OrderRekey{ID: id})
			named(r, id)
			undisturbed(r)
			id = r.status().ID
		}
		r.restart()
		named(r, "")
		undisturbed(r)
		if r.status().ID != id {
			t.Error("the restart has changed who the host is")
		}
	})
}

// TestRekeyOfAPeer: no problem is shown for a peer whose old identity has signed the new one.
func TestRekeyOfAPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.member()
		old, err := key.NewIdentityKey(strings.NewReader(strings.Repeat("o", 32)))
		if err != nil {
			t.Fatal(err)
		}
		wg, err := key.NewPrivate(strings.NewReader(strings.Repeat("w", 32)))
		if err != nil {
			t.Fatal(err)
		}
		next, err := key.NewIdentityKey(strings.NewReader(strings.Repeat("n", 32)))
		if err != nil {
			t.Fatal(err)
		}
		id := peers.HostID(old.Identity().Fingerprint())
		r.c.Apply(peers.EnrollHost{
			Token: r.c.Token().ID, Identity: old.Identity(), Name: "erp", Port: 51820,
			Keys: []peers.HostKey{peers.SignKey("meshid", old, 1, wg.Public())},
		})
		synctest.Wait()
		r.kernel.taken()
		r.c.Apply(peers.OrderRekey{ID: id})
		r.c.Apply(peers.SucceedHost{
			ID: id, Identity: next.Identity(), Signature: peers.SignHandover("meshid", old, next.Identity()).Signature,
			Keys: []peers.HostKey{peers.SignKey("meshid", next, 1, wg.Public())},
		})
		synctest.Wait()
		if got := codes(r.status()); got != "" {
			t.Errorf("problems %q", got)
		}
		if steps := r.kernel.taken(); len(steps) > 0 {
			t.Errorf("steps %q", steps)
		}
	})
}

// TestRekeyCut stops the agent between any two steps of it, for good each time.
func TestRekeyCut(t *testing.T) {
	for name, between := range map[string]func(r *rig, id peers.HostID){
		"made but not reported": func(r *rig, _ peers.HostID) {},
		"given up while it was away": func(r *rig, id peers.HostID) {
			next, h := heirOf(r), r.c.Inventory().Hosts[id]
			identity := identityIn(r)
			r.c.Apply(peers.SucceedHost{
				ID: id, Identity: next.Identity(), Signature: peers.SignHandover("meshid", identity, next.Identity()).Signature,
				Keys: []peers.HostKey{peers.SignKey("meshid", next, 1, h.Keys[0].Public)},
			})
		},
		"kept but not taken": func(r *rig, id peers.HostID) {
			next, h := heirOf(r), r.c.Inventory().Hosts[id]
			identity := identityIn(r)
			r.c.Apply(peers.SucceedHost{
				ID: id, Identity: next.Identity(), Signature: peers.SignHandover("meshid", identity, next.Identity()).Signature,
				Keys: []peers.HostKey{peers.SignKey("meshid", next, 1, h.Keys[0].Public)},
			})
			files, err := store.Open(r.dir)
			if err != nil {
				r.t.Fatal(err)
			}
			m, err := files.Membership()
			m.ID, m.Formerly = peers.HostID(next.Identity().Fingerprint()), m.ID
			if err := errors.Join(err, files.PutMembership(m), files.Close()); err != nil {
				r.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := two(t)
				id := r.status().ID
				r.c.Deaf(true)
				r.c.Apply(peers.OrderRekey{ID: id})
				r.eventually("the heir is reported", time.Minute, func() bool {
					heard := r.c.Heard()
					return heard[len(heard)-1].Report != nil && heard[len(heard)-1].Report.Heir != nil
				})
				r.kernel.taken()
				r.restart(func() {
					r.c.Deaf(false)
					between(r, id)
					// The controller is out of reach at first: the plan of the identity before is good enough.
					r.c.Down(true)
				})
				if s := r.status(); len(s.Peers) == 0 || len(r.kernel.taken()) > 0 {
					t.Errorf("without the controller the host is %+v", s)
				}
				r.c.Down(false)
				named(r, id)
				undisturbed(r)
			})
		})
	}
}

// identityIn reads the identity of a host whose agent is stopped.
func identityIn(r *rig) key.IdentityKey {
	r.t.Helper()
	files, err := store.Open(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	id, err := files.Identity()
	if err := errors.Join(err, files.Close()); err != nil {
		r.t.Fatal(err)
	}
	return id
}

// TestRekeyByAnother: when somebody else has handed over, the host keeps its tunnels and says that its
// identity is given up.
func TestRekeyByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		id := r.status().ID
		r.kernel.taken()
		r.c.Say(wire.Down{Kind: wire.DownGoodbye, Fault: wire.NewFault(403, wire.CodeRekeyed, "given up", "")})
		r.c.Refuse(wire.PathStream, wire.NewFault(403, wire.CodeRekeyed, "given up", ""))
		r.eventually("it is told", time.Minute, func() bool { return codes(r.status()) == wire.CodeRekeyed })
		if s := r.status(); s.ID != id || len(r.kernel.taken()) > 0 {
			t.Errorf("the host is %+v", s)
		}
	})
}
