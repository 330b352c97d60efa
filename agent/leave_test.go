package agent_test

import (
	"errors"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// leave leaves and gives the steps that were told, and the code of the fault.
func (r *rig) leave(force bool) (steps, code string) {
	r.t.Helper()
	var told []string
	err := r.agent.Leave(r.t.Context(), wire.LocalLeave{Force: force}, func(p wire.Progress) {
		told = append(told, p.Step+" "+p.Message)
	})
	synctest.Wait()
	if f, ok := errors.AsType[*wire.Fault](err); ok {
		if f.Hint == "" {
			r.t.Errorf("a fault without a hint: %+v", f)
		}
		return strings.Join(told, "\n"), f.Code
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Join(told, "\n"), ""
}

// gone checks that nothing of the mesh is left on the host, and that what others have is.
func (r *rig) gone() {
	r.t.Helper()
	state := r.state()
	if len(state.Links) > 0 || len(state.Routes) > 0 || state.Guard.There {
		r.t.Errorf("left in the kernel:\n%s", r.kernel)
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		r.t.Errorf("left in the data directory: %s", e.Name())
	}
	if s := r.status(); s.State != wire.StateUnenrolled || len(s.Problems) > 0 || s.Host != "" {
		r.t.Errorf("status afterwards: %+v", s)
	}
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (r *rig) listed() bool {
	_, there := r.c.Inventory().HostNamed("shop1")
	return there
}

// TestLeave: the controller knows, the host is as before, and it can come back without a restart.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		was := r.status().ID
		kept := filepath.Join(r.dir, "guard")
		r.eventually("the guard is on disk", 10*time.Second, func() bool { return isThere(kept) })
		if steps, code := r.leave(false); code != "" || !strings.Contains(steps, "controller") {
			t.Fatalf("leave: %q, %s", code, steps)
		}
		r.gone()
		if r.listed() {
			t.Error("the controller still lists the host")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		r.gone()
		if _, code := r.leave(false); code != "unenrolled" {
			t.Errorf("leaving twice: %q", code)
		}
		if _, err := r.enroll(r.c.Token().Encode()); err != nil {
			t.Fatalf("enrol again: %v", err)
		}
		r.eventually("all is well again", 10*time.Second, func() bool { return r.status().State == wire.StateOK })
		if r.status().ID == was {
			t.Error("it came back with the identity that it had wiped")
		}
		r.eventually("the guard is on disk again", 10*time.Second, func() bool { return isThere(kept) })
		time.Sleep(5 * time.Second)
		r.c.Down(true)
		r.restart()
		if s := r.status(); len(s.Peers) != 2 || s.Revision == 0 {
			t.Errorf("after a restart: %+v", s)
		}
	})
}

// TestLeaveWithoutController: nothing happens without force; with it everything does, and what is left to do is said.
func TestLeaveWithoutController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		time.Sleep(5 * time.Second)
		sum, before := r.sum(), r.kernel.String()
		r.c.Down(true)
		if _, code := r.leave(false); code != "controller-unreachable" {
			t.Errorf("fault %q", code)
		}
		if r.sum() != sum || r.kernel.String() != before {
			t.Error("a host that could not leave was changed")
		}
		r.c.Down(false)
		r.eventually("it goes on as a member", time.Minute, func() bool { return r.status().Controller.Connected })
		r.c.Blackhole(true)
		if steps, code := r.leave(true); code != "" || !strings.Contains(steps, "warren host rm shop1") {
			t.Errorf("leave by force: %q, %s", code, steps)
		}
		r.gone()
	})
}

// TestLeaveUnwanted: whom the controller has no place for any more may go. Who is suspended comes back.
func TestLeaveUnwanted(t *testing.T) {
	for state, c := range map[peers.HostState]struct{ code, byForce string }{
		peers.HostRevoked:   {code: ""},
		peers.HostSuspended: {code: "suspended"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := two(t)
			r.c.Apply(peers.SetHostState{ID: r.status().ID, State: state})
			time.Sleep(time.Second)
			if _, code := r.leave(false); code != c.code {
				t.Errorf("%s: fault %q, want %q", state, code, c.code)
			}
			if c.code != "" {
				if _, code := r.leave(true); code != "" {
					t.Errorf("%s, by force: fault %q", state, code)
				}
			}
			r.gone()
		})
	}
}

// TestLeaveDamaged: a host that cannot say who it is leaves by force.
func TestLeaveDamaged(t *testing.T) {
	for _, file := range []string{"identity", "membership", "plan", "key-1"} {
		synctest.Test(t, func(t *testing.T) {
			r := two(t)
			time.Sleep(5 * time.Second)
			r.restart(func() { r.damage(file) })
			if _, code := r.leave(true); code != "" {
				t.Errorf("%s: fault %q", file, code)
			}
			r.gone()
		})
	}
}

// TestLeaveHalfEnrolled: an enrolment without an answer is given up.
func TestLeaveHalfEnrolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		r.c.Refuse(wire.PathEnroll, wire.NewFault(http.StatusServiceUnavailable, "busy", "busy", ""))
		if _, err := r.enroll(r.c.Token().Encode(), func(o *wire.LocalEnroll) { o.Timeout = 1 }); err == nil {
			t.Fatal("enrolled")
		}
		if _, code := r.leave(true); code != "" {
			t.Errorf("fault %q", code)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		r.gone()
	})
}

// TestLeaveGoesOn: what could not be removed is not built again, and neither a restart nor a crash brings the host
// back.
func TestLeaveGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		time.Sleep(5 * time.Second)
		r.kernel.Refuse(func(s peers.Step) error {
			if _, del := s.(peers.DelLink); del {
				return errors.New("not now")
			}
			return nil
		})
		if _, code := r.leave(false); code != "leave-incomplete" {
			t.Errorf("fault %q", code)
		}
		r.kernel.taken()
		time.Sleep(time.Minute)
		if got := r.kernel.taken(); len(got) > 0 {
			t.Errorf("built again: %q", got)
		}
		r.kernel.Refuse(nil)
		r.restart()
		r.gone()
	})
}

// TestLeaveStopsHalfway: the interface is gone already when something else fails, and nobody makes it again.
func TestLeaveStopsHalfway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		time.Sleep(5 * time.Second)
		r.kernel.Refuse(func(s peers.Step) error {
			if _, del := s.(peers.DelLink); !del {
				return errors.New("not now")
			}
			return nil
		})
		if _, code := r.leave(false); code != "leave-incomplete" {
			t.Errorf("fault %q", code)
		}
		r.kernel.Refuse(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := r.state(); len(s.Links) > 0 {
			t.Errorf("built again:\n%s", r.kernel)
		}
		if _, code := r.leave(true); code != "" {
			t.Errorf("the second time: fault %q", code)
		}
		r.gone()
	})
}

// TestLeaveForgetsUnsavedPlan: a plan that could not be kept on disk, and waits for another try, is not written into the
// data directory of a host that has left.
func TestLeaveForgetsUnsavedPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		time.Sleep(5 * time.Second)
		if err := os.Mkdir(filepath.Join(r.dir, "plan.tmp"), 0o700); err != nil {
			t.Fatal(err)
		}
		other, _ := r.c.Inventory().HostNamed("accounting")
		r.c.Apply(peers.SetHostState{ID: other.ID, State: peers.HostSuspended})
		r.eventually("the plan cannot be kept", time.Second, func() bool { return strings.Contains(codes(r.status()), "disk") })
		if _, code := r.leave(false); code != "" {
			t.Errorf("fault %q", code)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		r.gone()
	})
}

// TestLeaveSpares: a link in our name that is somebody else's, a network of his and a file of his stay.
func TestLeaveSpares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		own := filepath.Join(r.dir, "notes.txt")
		if err := os.WriteFile(own, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		r.kernel.Occupy("wrn0")
		lan := peers.Foreign{Link: "lan", Prefix: netip.MustParsePrefix("192.168.1.0/24")}
		r.kernel.SetForeign(lan)
		steps, code := r.leave(false)
		if code != "" || !strings.Contains(steps, "notes.txt") {
			t.Errorf("fault %q, told:\n%s", code, steps)
		}
		state := r.state()
		if len(state.Links) != 1 || state.Links[0].Name != "wrn0" || !slices.Equal(state.Foreign, []peers.Foreign{lan}) {
			t.Errorf("left:\n%s", r.kernel)
		}
		if _, err := os.Stat(own); err != nil {
			t.Error(err)
		}
	})
}
