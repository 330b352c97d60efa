package agent_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/agent/control"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

func controllerHeir(t *testing.T, seed string) key.IdentityKey {
	t.Helper()
	k, err := key.NewIdentityKey(strings.NewReader(strings.Repeat(seed, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// acknowledged reports whether a host has said that it knows an identity of the controller.
func acknowledged(r *rig, next key.Identity) bool {
	for _, up := range r.c.Heard() {
		if up.Report != nil && up.Report.Pin == next {
			return true
		}
	}
	return false
}

// TestControllerRekey: a host learns the next identity, has it on disk before it says so, and goes over to it
// wherever it was cut off.
func TestControllerRekey(t *testing.T) {
	for name, during := range map[string]func(*rig){
		"online":                   func(*rig) {},
		"away at the end":          func(r *rig) { r.stop() },
		"without the controller":   func(r *rig) { r.c.Down(true) },
		"restarted in the overlap": func(r *rig) { r.restart() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := two(t)
				old, next := r.c.Identity(), controllerHeir(t, "n")
				r.c.Rekey(next)
				r.eventually("it is acknowledged", time.Minute, func() bool { return acknowledged(r, next.Identity()) })
				r.kernel.taken()
				during(r)
				r.c.Succeed(next)
				r.c.Down(true) // what is connected must come anew
				r.c.Down(false)
				if name == "away at the end" {
					r.start()
				}
				r.eventually("it follows the new identity", time.Minute, func() bool {
					s := r.status()
					return s.Controller.Connected && s.Revision == r.c.Inventory().Revision && len(s.Problems) == 0
				})
				if steps := r.kernel.taken(); len(steps) > 0 {
					t.Errorf("steps %q", steps)
				}
				// Only the new one is believed from now on.
				r.c.Succeed(old)
				r.c.Down(true)
				r.c.Down(false)
				r.eventually("the old one is refused", time.Minute, func() bool { return codes(r.status()) == control.CodeMismatch })
			})
		})
	}
}

// TestControllerRekeyUnsigned: a next identity that the pinned one has not signed is not believed.
func TestControllerRekeyUnsigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		eve := controllerHeir(t, "e")
		plan, err := r.c.Inventory().PlanAlone(r.status().ID)
		if err != nil {
			t.Fatal(err)
		}
		hand := peers.SignHandover("meshid", eve, eve.Identity())
		hand.From = r.c.Pin()
		plan.Mesh.Heir = &peers.PinHeir{Handover: hand, To: eve.Identity()}
		r.c.Say(wire.Down{Kind: wire.DownDelta, Revision: r.c.Inventory().Revision, Head: r.c.Inventory().Head, Plan: &plan})
		r.eventually("it is told", time.Minute, func() bool { return strings.Contains(codes(r.status()), "controller-heir") })
		if acknowledged(r, eve.Identity()) {
			t.Error("it is believed")
		}
	})
}

// TestControllerRekeyMissed: a host that was away for the whole overlap says so, keeps its tunnels, and goes on
// with a new token, under its name and without using that up.
func TestControllerRekeyMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		id := r.status().ID
		r.stop()
		next := controllerHeir(t, "n")
		r.c.Rekey(next)
		r.c.Succeed(next)
		r.kernel.taken()
		r.start()
		r.eventually("it is told", time.Minute, func() bool { return codes(r.status()) == control.CodeMismatch })
		p := r.status().Problems[0]
		if !strings.Contains(p.Hint, "warren enroll TOKEN") || len(r.kernel.taken()) > 0 {
			t.Errorf("problem %+v", p)
		}
		token := r.c.Token()
		if _, err := r.enroll(token.Encode()); err != nil {
			t.Fatal(err)
		}
		s := r.status()
		if s.ID != id || !s.Controller.Connected || len(s.Problems) > 0 || len(r.kernel.taken()) > 0 {
			t.Errorf("afterwards the host is %+v", s)
		}
		if used := r.c.Inventory().Tokens[token.ID].Used; used != 0 {
			t.Errorf("the token was used %d times", used)
		}
		if _, err := r.enroll(r.c.Token().Encode()); err == nil {
			t.Error("a host that is in good order takes another token")
		}
	})
}

// TestKeyAge: the status says how old the keys are, and when a rotation that is scheduled does not begin.
func TestKeyAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		r.c.Apply(peers.SetSchedule{Schedule: &peers.Schedule{Every: 3600}})
		synctest.Wait()
		<-time.After(time.Hour)
		if s := r.status(); len(s.Problems) > 0 || s.KeyAge < 3600 || s.KeyAge > 3700 || s.Interfaces[0].Since == nil {
			t.Errorf("after an hour: %+v", s)
		}
		<-time.After(20 * time.Minute)
		if got := codes(r.status()); got != "key-age" {
			t.Errorf("overdue: problems %q", got)
		}
		r.c.Apply(peers.SetSchedule{})
		synctest.Wait()
		if got := codes(r.status()); got != "" {
			t.Errorf("without a schedule: problems %q", got)
		}
	})
}
