package agent_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestClockBack: a host that was later once says so, until its clock has caught up or is known to be right.
func TestClockBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.c.AddHost("warehouse", "198.51.100.2:51820")
		r.member()
		r.eventually("all is well", 10*time.Second, func() bool { return r.status().State == wire.StateOK })
		late := func(by time.Duration) {
			s, err := store.Open(r.dir)
			if err == nil {
				err = s.PutClock(time.Now().Add(by))
			}
			if err == nil {
				err = s.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		r.c.Down(true)
		r.restart(func() { late(30 * 24 * time.Hour) })
		if s := r.status(); !r.hasProblem("clock-back") || !strings.Contains(s.Problems[0].Message, "720h0m0s behind") {
			t.Errorf("problems %+v", s.Problems)
		}
		r.c.Down(false)
		r.eventually("the controller's clock says that it is right", 5*time.Minute, func() bool {
			return !r.hasProblem("clock-back")
		})

		// What it believes now is on disk when it stops, and a clock that goes on is no problem.
		r.c.Down(true)
		r.restart()
		if r.hasProblem("clock-back") {
			t.Error("a clock that was right is a problem after a restart")
		}
		r.restart(func() { late(3 * time.Minute) })
		if !r.hasProblem("clock-back") {
			t.Error("three minutes are not noticed")
		}
		time.Sleep(4 * time.Minute)
		if r.hasProblem("clock-back") {
			t.Error("it has caught up, and that is not noticed")
		}
		s, err := store.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Clock(); err == nil {
			t.Error("an empty directory knows how late it is")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestPeerClockBack: a peer that begins handshakes in vain is removed and added again, once.
func TestPeerClockBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.c.AddHost("warehouse", "198.51.100.2:51820")
		r.member()
		r.eventually("all is well", 10*time.Second, func() bool { return r.status().State == wire.StateOK })
		warehouse := r.key("warehouse", 1)
		r.kernel.mu.Lock()
		r.kernel.deaf[warehouse] = true
		r.kernel.mu.Unlock()
		r.kernel.Knock(netip.MustParseAddr("198.51.100.2"))
		r.eventually("it is cured", time.Minute, func() bool {
			p, ok := r.state().Links[0].Peer(warehouse)
			return ok && p.LastHandshake.IsZero()
		})
		if n := strings.Count(r.log.String(), "begins handshakes in vain"); n != 1 {
			t.Errorf("said %d times:\n%s", n, r.log)
		}
		time.Sleep(time.Hour)
		if n := strings.Count(r.log.String(), "begins handshakes in vain"); n != 1 {
			t.Errorf("said %d times:\n%s", n, r.log)
		}
	})
}
