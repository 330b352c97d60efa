package agent_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestHold: to a generation that is held no traffic moves, whoever answers there, also after a restart without the
// controller. The host says so when that is on its disk. Released, the traffic moves.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		r.c.Apply(peers.StartGeneration{Number: 2})
		r.c.Apply(peers.HoldGeneration{Number: 2})
		held := r.c.Inventory().Mesh.Generations[1].Held
		r.c.AddHost("office", "198.51.100.4:51820") // with keys of both
		answers := func() bool {
			s := r.state()
			l, ok := s.LinkNamed("wrn0")
			return ok && len(l.Peers) == 1 && !l.Peers[0].LastHandshake.IsZero()
		}
		stays := func(when string) {
			t.Helper()
			r.eventually("the office answers on the newer generation, "+when, 20*time.Second, answers)
			time.Sleep(time.Minute)
			synctest.Wait()
			if p := r.peer("office"); p.Interface != "wrn1" || p.State != wire.PeerUp {
				t.Errorf("%s its traffic takes %s, and it is %s", when, p.Interface, p.State)
			}
		}
		stays("at first")
		said := func() (with peers.Revision) {
			for _, up := range r.c.Heard() {
				if up.Report != nil && up.Report.Holds != 0 {
					with = up.Report.Holds
				}
			}
			return with
		}
		r.eventually("it says that it holds", 10*time.Second, func() bool { return said() >= held && said() <= r.c.Inventory().Revision })
		r.c.Down(true)
		r.restart()
		stays("after a restart")
		r.c.Down(false)
		r.c.Apply(peers.ReleaseGeneration{Number: 2})
		r.eventually("traffic moves", time.Minute, func() bool { return r.peer("office").Interface == "wrn0" })
		r.c.Apply(peers.HoldGeneration{Number: 2})
		again := r.c.Inventory().Mesh.Generations[1].Held
		time.Sleep(time.Minute)
		synctest.Wait()
		if p := r.peer("office"); p.Interface != "wrn0" {
			t.Errorf("what has moved went back to %s", p.Interface)
		}
		if said() >= again {
			t.Error("it says that it holds, and has moved traffic")
		}
	})
}
