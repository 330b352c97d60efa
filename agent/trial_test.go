package agent_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// routeMTU is that of the route to warehouse in the kernel, -1 for no route.
func (r *rig) routeMTU() int {
	r.t.Helper()
	to := netip.PrefixFrom(r.status().Peers[0].Address, 32)
	for _, route := range r.state().Routes {
		if route.Prefix == to {
			return route.MTU
		}
	}
	return -1
}

func (r *rig) hasProblem(code string) bool { return peers.Problems(r.status().Problems).Has(code) }

// TestBlackHole: a way that loses large packets without a word gets a narrower route, a problem that says
// so, and all is as before when it is mended.
func TestBlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.c.AddHost("warehouse", "198.51.100.2:51820")
		r.probes.lose(1300, false)
		r.member()
		r.eventually("the route is narrow", 15*time.Second, func() bool { return r.routeMTU() == 1300 })
		if s := r.status(); s.Peers[0].MTU != 1300 || s.State != wire.StateDegraded || !r.hasProblem("mtu-black-hole") {
			t.Errorf("status %+v", s)
		}
		if r.state().Links[0].MTU != 1420 {
			t.Error("the whole interface is narrow")
		}

		// While the other agent does not answer, nothing is known, and nothing changes, an agent that starts
		// anew neither.
		r.probes.lose(0, true)
		time.Sleep(time.Hour)
		if r.routeMTU() != 1300 || !r.hasProblem("mtu-black-hole") {
			t.Errorf("without an answer the MTU became %d", r.routeMTU())
		}
		steps := r.kernel.Steps()
		r.restart()
		time.Sleep(time.Minute)
		if r.routeMTU() != 1300 || r.kernel.Steps() != steps {
			t.Errorf("after a restart the MTU is %d, with %d steps", r.routeMTU(), r.kernel.Steps()-steps)
		}

		r.probes.lose(0, false)
		r.eventually("the route is wide again", 6*time.Minute, func() bool { return r.routeMTU() == 0 })
		r.eventually("all is well", time.Minute, func() bool { return r.status().State == wire.StateOK })
		if s := r.status(); s.Peers[0].MTU != 1420 {
			t.Errorf("status %+v", s.Peers[0])
		}
	})
}

// TestTrialsAreRare: where nothing is wrong, a trial takes place now and then, and sets nothing.
func TestTrialsAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.c.AddHost("warehouse", "198.51.100.2:51820")
		r.member()
		before, looks := 0, 0
		r.eventually("it is tried once", 15*time.Second, func() bool {
			before, looks = looks, r.looks()
			return r.probes.count() == 1
		})
		if looks > before+1 {
			t.Errorf("a trial that finds nothing wrong made it look at the kernel %d times", looks-before)
		}
		steps := r.kernel.Steps()
		time.Sleep(5 * time.Hour)
		if n := r.probes.count(); n < 50 || n > 80 {
			t.Errorf("%d trials in five hours", n)
		}
		if n := r.kernel.Steps() - steps; n != 0 {
			t.Errorf("they took %d steps", n)
		}
		// A way that stays narrow is tried more often, so that it is seen when it is mended.
		r.probes.lose(1300, false)
		r.eventually("the route is narrow", 7*time.Minute, func() bool { return r.routeMTU() == 1300 })
		tried := r.probes.count()
		steps = r.kernel.Steps()
		time.Sleep(time.Hour)
		if n := r.probes.count() - tried; n < 50 || n > 70 {
			t.Errorf("%d trials of a narrow way in an hour", n)
		}
		if n := r.kernel.Steps() - steps; n != 0 {
			t.Errorf("they took %d steps", n)
		}
	})
}
