package controller

import (
	"fmt"
	"io"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/warren-mesh/warren/peers"
)

// WriteMetrics writes how the mesh is, and then how this process is, in the text format of Prometheus. All
// figures are of one moment, so the set is made for each time that somebody looks.
func (c *Controller) WriteMetrics(w io.Writer) {
	set := metrics.NewSet()
	inv, now := c.Inventory(), c.now()
	put := func(value float64, name string, args ...any) {
		set.NewGauge(fmt.Sprintf(name, args...), nil).Set(value)
	}
	put(1, "warren_controller_info{mesh=%q,version=%q}", inv.Mesh.Name, c.settings.Version)
	put(float64(inv.Revision), "warren_ledger_revision")
	put(float64(len(c.sessions.ids())), "warren_sessions")
	c.countHosts(inv, put)
	c.measureKeys(inv, now, put)
	set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
}

// A putter takes a figure and its name.
type putter func(value float64, name string, args ...any)

func (c *Controller) countHosts(inv *peers.Inventory, put putter) {
	states := map[peers.HostState]int{
		peers.HostPending: 0, peers.HostActive: 0, peers.HostSuspended: 0, peers.HostRevoked: 0,
	}
	problems := 0
	for id, h := range inv.Hosts {
		states[h.State]++
		if len(c.book.Of(id).Problems) > 0 {
			problems++
		}
	}
	for state, n := range states {
		put(float64(n), "warren_hosts{state=%q}", state)
	}
	put(float64(problems), "warren_hosts_with_problems")
}

// measureKeys tells how old the keys are, when the next ones come, and how far a rotation is.
func (c *Controller) measureKeys(inv *peers.Inventory, now time.Time, put putter) {
	newest := inv.Mesh.Generations[len(inv.Mesh.Generations)-1]
	put(float64(newest.Number), "warren_generation")
	put(max(0, now.Sub(c.begun(newest, now)).Seconds()), "warren_generation_age_seconds")
	put(float64(len(c.keyProblems(inv, now))), "warren_rotation_overdue")
	if slot, ok, err := c.slot(inv, now); ok && err == nil {
		put(slot.At.Sub(now).Seconds(), "warren_rotation_next_seconds")
	}
	if last := c.schedule.end(inv); last != nil {
		put(last.Took, "warren_rotation_last_duration_seconds")
	}
	v := c.Rotation()
	for _, phase := range []peers.Phase{
		peers.PhaseIdle, peers.PhaseAnnounce, peers.PhaseProve, peers.PhaseSwitch, peers.PhaseRetire,
	} {
		is := 0.0
		if phase == v.Phase {
			is = 1
		}
		put(is, "warren_rotation_phase{phase=%q}", phase)
	}
	put(float64(v.Pairs.Total), `warren_rotation_pairs{state="total"}`)
	put(float64(v.Pairs.Proven), `warren_rotation_pairs{state="proven"}`)
	put(float64(v.Pairs.Switched), `warren_rotation_pairs{state="switched"}`)
	put(float64(v.Pairs.Retired), `warren_rotation_pairs{state="retired"}`)
	put(float64(len(v.Waiting)), "warren_rotation_waiting_hosts")
}
