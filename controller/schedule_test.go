package controller_test

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata"

	"github.com/warren-mesh/warren/controller"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// A wallClock is a clock that somebody sets.
type wallClock struct{ ahead atomic.Int64 }

func (w *wallClock) now() time.Time          { return time.Now().Add(time.Duration(w.ahead.Load())) }
func (w *wallClock) set(ahead time.Duration) { w.ahead.Store(int64(ahead)) }

// A rota is a controller with a schedule, in a bubble with a clock of its own.
type rota struct {
	t    *testing.T
	c    *controller.Controller
	wall *wallClock
	stop func()
}

// newRota starts a controller that shares its ledger with others, where there are some.
func newRota(t *testing.T, store *memoryLedger) *rota {
	t.Helper()
	r := &rota{t: t, wall: &wallClock{}}
	r.start(store)
	return r
}

func (r *rota) start(store *memoryLedger) {
	r.t.Helper()
	var err error
	settings := controller.Settings{Now: r.wall.now}
	if r.c, err = controller.Open(r.t.Context(), store, store, settings, slog.New(slog.DiscardHandler)); err != nil {
		r.t.Fatal(err)
	}
	r.stop = runUntilStopped(r.t, r.c)
}

// set sets the schedule.
func (r *rota) set(order wire.ScheduleOrder) {
	r.t.Helper()
	if _, err := r.c.SetSchedule(r.t.Context(), "unix:tester", order); err != nil {
		r.t.Fatal(err)
	}
}

// pass lets some time go by, in which every rotation that begins also ends, and gives the generation.
func (r *rota) pass(d time.Duration) peers.Generation {
	r.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		<-time.After(min(10*time.Second, time.Until(end)))
		synctest.Wait()
	}
	return r.c.Inventory().Mesh.Current()
}

// TestScheduleRuns: with nobody there, every slot has its rotation, also across a restart.
func TestScheduleRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryLedger()
		r := newRota(t, store)
		r.set(wire.ScheduleOrder{Every: 3600})
		if g := r.pass(50 * time.Minute); g != 1 {
			t.Errorf("generation %d before the first slot", g)
		}
		if g := r.pass(30 * time.Minute); g != 2 {
			t.Errorf("generation %d after the first slot", g)
		}
		r.stop()
		r.start(store)
		if g := r.pass(30 * time.Minute); g != 2 {
			t.Errorf("generation %d before the second slot: the restart counts as one", g)
		}
		if g := r.pass(time.Hour); g != 3 {
			t.Errorf("generation %d after the second slot", g)
		}
		last := store.starts()[0]
		if last.By != "schedule" || last.Why != "every 1h" {
			t.Errorf("begun by %q because of %q", last.By, last.Why)
		}
		r.stop()
	})
}

// TestScheduleMissed: what was missed is left to the next window, or done at once.
func TestScheduleMissed(t *testing.T) {
	for name, catchUp := range map[string]bool{"next window": false, "at once": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newMemoryLedger()
				r := newRota(t, store) // it is Saturday, midnight UTC
				r.set(wire.ScheduleOrder{Every: 3600, Windows: []string{"Sat,Sun 02:00-04:00 UTC"}, CatchUp: catchUp})
				r.stop()
				<-time.After(6 * time.Hour)
				r.start(store)
				want := peers.Generation(1)
				if catchUp {
					want = 2
				}
				if g := r.pass(time.Hour); g != want {
					t.Errorf("generation %d after a missed slot, want %d", g, want)
				}
				v := r.c.Schedule()
				if v.Missed == catchUp || len(v.Problems) > 0 == catchUp {
					t.Errorf("the schedule says %+v", v)
				}
				if g := r.pass(19*time.Hour + 30*time.Minute); g != want+1 { // Sunday, 02:30
					t.Errorf("generation %d a day later, want %d", g, want+1)
				}
				r.stop()
			})
		})
	}
}

// TestScheduleClock: a clock that jumps, in whichever direction and however often, gives one rotation at
// most for each time that it shows more than ever before, and the mesh is rotated again in the end.
func TestScheduleClock(t *testing.T) {
	year := 365 * 24 * time.Hour // in which a mesh with this schedule has thousands of slots
	for name, c := range map[string]struct {
		jumps []time.Duration
		most  peers.Generation
	}{
		"back":                 {[]time.Duration{-year}, 1},
		"back and right again": {[]time.Duration{-year, 0, -year, 0}, 1},
		"ahead":                {[]time.Duration{year}, 2},
		"ahead and right":      {[]time.Duration{year, 0}, 2},
		"ahead, many times":    {[]time.Duration{year, 0, year, 0, year, 0, year, 0}, 2},
		"ahead and far back":   {[]time.Duration{year, -year, year}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newMemoryLedger()
				r := newRota(t, store)
				r.set(wire.ScheduleOrder{Every: 6 * 3600})
				for _, ahead := range c.jumps {
					r.wall.set(ahead)
					if g := r.pass(20 * time.Minute); g > c.most {
						t.Fatalf("generation %d after a jump to %v, want %d at most", g, ahead, c.most)
					}
					r.stop() // and a restart is no way round
					r.start(store)
				}
				before := r.pass(time.Minute)
				if g := r.pass(6*time.Hour + 40*time.Minute); g != before+1 {
					t.Errorf("generation %d six hours later, was %d", g, before)
				}
				r.stop()
			})
		})
	}
}

// TestScheduleTwoControllers: of two controllers on one ledger exactly one begins each rotation.
func TestScheduleTwoControllers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryLedger()
		a, b := newRota(t, store), newRota(t, store)
		a.set(wire.ScheduleOrder{Every: 3600})
		if g := a.pass(11 * time.Hour); g < 10 || g > 12 {
			t.Errorf("generation %d after 11 hours", g)
		}
		if x, y := a.c.Inventory().Mesh.Current(), b.c.Inventory().Mesh.Current(); x != y {
			t.Errorf("one is at generation %d, the other at %d", x, y)
		}
		starts := store.starts()
		for i := 1; i < len(starts); i++ {
			if gap := starts[i].At.Sub(starts[i-1].At); gap < time.Hour {
				t.Errorf("a rotation %v after the one before", gap)
			}
		}
		if store.conflicts == 0 {
			t.Error("the two never met: this test shows nothing")
		}
		a.stop()
		b.stop()
	})
}

// TestScheduleRefused: what cannot be kept is refused with all its reasons.
func TestScheduleRefused(t *testing.T) {
	s := newSite(t)
	order := wire.ScheduleOrder{Every: 86400, Windows: []string{"Sun 02:00-04:00 Middle/Earth", "Sun"}}
	if f := s.admin(http.MethodPut, wire.PathSchedule, order, nil); f == nil || f.Code != "schedule-window" || len(f.Problems) != 2 {
		t.Errorf("%+v", f)
	}
	if f := s.admin(http.MethodPut, wire.PathSchedule, wire.ScheduleOrder{Every: 5}, nil); f == nil || f.Code != "schedule-every" {
		t.Errorf("%+v", f)
	}
	var v wire.ScheduleView
	s.must(http.MethodPut, wire.PathSchedule, wire.ScheduleOrder{Every: 86400, Windows: []string{"Sun 02:00-04:00 Europe/Berlin"}}, &v)
	if v.Next == nil || v.Missed || v.Schedule.Windows[0] != "Sun 02:00-04:00 Europe/Berlin" || v.Generation != 1 {
		t.Errorf("%+v", v)
	}
	for range 2 { // taking away what is not there is no error
		s.must(http.MethodDelete, wire.PathSchedule, nil, &v)
		if v.Schedule != nil || v.Next != nil {
			t.Errorf("%+v", v)
		}
	}
}
