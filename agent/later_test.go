package agent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// many is a member of a mesh of ten hosts in which a rotation begins.
func many(t *testing.T) (r *rig, others []peers.HostID, turn, end time.Duration) {
	t.Helper()
	r = newRig(t)
	for i := range 9 {
		others = append(others, r.c.AddHost(fmt.Sprintf("host%d", i), fmt.Sprintf("198.51.100.%d:51820", i+1)))
	}
	r.member()
	r.eventually("all is well", 10*time.Second, func() bool { return r.status().State == wire.StateOK })
	time.Sleep(10 * time.Second)
	r.c.Apply(peers.StartGeneration{Number: 2})
	p, err := r.c.Inventory().Plan(r.status().ID)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	r.kernel.taken()
	return r, others, p.BuildAfter(), p.ClearAfter()
}

// link is what the kernel has of an interface. To ask is no look of the agent's.
func (r *rig) link(name string) *peers.Link {
	r.t.Helper()
	s, err := r.kernel.Fake.Observe(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if l, ok := s.LinkNamed(name); ok {
		return l
	}
	return &peers.Link{}
}

func (r *rig) hasLink(name string) bool { return r.link(name).Name != "" }

// TestAnnouncementsTakeNoTurns: what others announce in a rotation is taken up when there is a turn anyway.
func TestAnnouncementsTakeNoTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, others, turn, _ := many(t)
		began, before := time.Now(), r.looks()
		for _, id := range others[:5] {
			time.Sleep(turn / 20)
			r.c.Announce(id, 2)
			synctest.Wait()
		}
		if n := r.looks() - before; n > 1 {
			t.Errorf("looked %d times at the kernel before it was the host's turn", n)
		}
		time.Sleep(turn + 10*time.Millisecond - time.Since(began))
		synctest.Wait()
		set := r.kernel.taken()
		if !r.hasLink("wrn0") || len(set) == 0 {
			t.Fatalf("in its turn it has done %q", set)
		}
		before = r.looks()
		for _, id := range others[5:] {
			r.c.Announce(id, 2)
			synctest.Wait()
			time.Sleep(50 * time.Millisecond)
		}
		synctest.Wait()
		if n := r.looks() - before; n > 2 {
			t.Errorf("looked %d times at the kernel for four announcements in 200 ms", n)
		}
		time.Sleep(500 * time.Millisecond)
		if n := len(r.link("wrn0").Peers); n != 9 {
			t.Errorf("after half a second it knows %d of 9 peers on the new interface", n)
		}
	})
}

// TestOverIsTakenDownInTurn: an older generation goes when it is the host's turn, and at once where its name is needed or
// somebody asks how the host is.
func TestOverIsTakenDownInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, others, turn, end := many(t)
		announce := func(g peers.Generation) {
			for _, id := range others {
				r.c.Announce(id, g)
			}
			time.Sleep(turn + 10*time.Second)
		}
		announce(2)
		r.c.Apply(peers.RetireGeneration{Number: 1})
		time.Sleep(end - time.Millisecond)
		synctest.Wait()
		if !r.hasLink("wrn1") {
			t.Error("the older interface went before it was its turn")
		}
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		if r.hasLink("wrn1") {
			t.Error("the older interface is still there after its turn")
		}
		time.Sleep(time.Minute)
		r.c.Apply(peers.StartGeneration{Number: 3})
		announce(3)
		r.c.Apply(peers.RetireGeneration{Number: 2})
		synctest.Wait()
		r.c.Apply(peers.StartGeneration{Number: 4})
		synctest.Wait()
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		if r.hasLink("wrn0") {
			t.Error("an interface that is over waits, and the next one has its name")
		}
		announce(4)
		r.status()
		r.c.Apply(peers.RetireGeneration{Number: 3})
		synctest.Wait()
		if before := r.hasLink("wrn1"); len(r.status().Interfaces) != 1 || r.hasLink("wrn1") || !before {
			t.Errorf("asked how it is, it still has an interface that is over: %v; before: %v", r.hasLink("wrn1"), before)
		}
	})
}

// planOnDisk is the revision of the plan that is kept.
func (r *rig) planOnDisk() peers.Revision {
	r.t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.dir, "plan"))
	if err != nil {
		r.t.Fatal(err)
	}
	_, body, _ := bytes.Cut(raw, []byte("\n"))
	var kept struct{ Plan peers.Plan }
	if err := json.Unmarshal(body, &kept); err != nil {
		r.t.Fatal(err)
	}
	return kept.Plan.Revision
}

// hellos is how often agents have opened a stream.
func (r *rig) hellos() (n int) {
	for _, up := range r.c.Heard() {
		if up.Hello != nil {
			n++
		}
	}
	return n
}

// TestWaitingPlanIsKeptWithItsTurn: a plan that waits is not on disk, where the next agent would take it for one that the
// host has been brought to. With its turn it is, also where the stream has begun anew meanwhile, and the controller said
// that there is nothing new.
func TestWaitingPlanIsKeptWithItsTurn(t *testing.T) {
	for name, again := range map[string]bool{"one stream": false, "the stream begins anew": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, others, turn, _ := many(t)
				for turn < time.Second { // time for a stream to begin anew; whose turn is when, hangs on ids
					r.stop()
					r, others, turn, _ = many(t)
				}
				began, before, streams := time.Now(), r.planOnDisk(), r.hellos()
				r.c.Announce(others[0], 2)
				synctest.Wait()
				want := r.c.Inventory().Revision
				if again {
					r.c.Down(true)
					synctest.Wait()
					r.c.Down(false)
					for r.hellos() == streams && time.Since(began) < turn {
						time.Sleep(10 * time.Millisecond)
						synctest.Wait()
					}
				}
				time.Sleep(turn - 10*time.Millisecond - time.Since(began))
				synctest.Wait()
				if is := r.planOnDisk(); is != before || before >= want || again != (r.hellos() > streams) {
					t.Fatalf("before its turn the plan on disk is that of revision %d, want %d before %d; %d streams more",
						is, before, want, r.hellos()-streams)
				}
				time.Sleep(20 * time.Millisecond)
				synctest.Wait()
				if is := r.planOnDisk(); is != want {
					t.Errorf("after its turn the plan on disk is that of revision %d, want %d", is, want)
				}
			})
		})
	}
}
