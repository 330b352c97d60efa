package agent_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// restored is how often what was put back, by kind.
func (r *rig) restored() string {
	var out []string
	for _, x := range r.status().Restored {
		out = append(out, fmt.Sprintf("%s=%d", x.Kind, x.Count))
	}
	return strings.Join(out, " ")
}

// do is what somebody else does to the host.
func (r *rig) do(steps ...peers.Step) {
	r.t.Helper()
	if err := r.kernel.Fake.Apply(r.t.Context(), steps); err != nil {
		r.t.Fatal(err)
	}
}

// TestRestorationsAreNamed: what was put back is counted by kind and told with when and what.
func TestRestorationsAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		if s := r.status(); s.Restored != nil {
			t.Errorf("before anybody did anything: %+v", s.Restored)
		}
		before := r.kernel.String()
		back := func() bool { return equalButForHandshakes(r.kernel.String(), before) }
		route := r.state().Routes[len(r.state().Routes)-1]
		r.do(peers.DelRoute{Route: route})
		r.eventually("the route is back", 2*time.Second, back)
		r.do(peers.SetLink{Name: "wrn1", MTU: 1300})
		r.eventually("the MTU is back", 2*time.Second, back)
		r.do(peers.DelPeer{Link: "wrn1", Key: r.key("warehouse", 1)})
		r.eventually("the peer is back", 5*time.Second, back)
		r.kernel.Delete("wrn1")
		r.eventually("the interface is back", 2*time.Second, back)
		if got := r.restored(); got != "link=1 mtu=1 peer=1 route=1" {
			t.Errorf("restored %s", got)
		}
		s := r.status()
		if at := s.Restored[3]; at.What != "route replace "+route.String() || time.Since(at.Last) > time.Minute {
			t.Errorf("the route: %+v", at)
		}
		if s.State != wire.StateOK || len(s.Problems) > 0 {
			t.Errorf("healed, and yet: %s, %v", s.State, s.Problems)
		}
	})
}

// TestRestorationsAreOthers: what the plan, an answer or the host's own networks ask for restores nothing.
func TestRestorationsAreOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		id := r.c.AddHost("branch", "198.51.100.4:51820")
		time.Sleep(10 * time.Second)
		r.kernel.SetForeign(peers.Foreign{Prefix: netip.MustParsePrefix("10.90.0.0/16"), Link: "lan"})
		time.Sleep(time.Second)
		r.kernel.SetForeign()
		time.Sleep(time.Second)
		r.c.Apply(peers.RemoveHost{ID: id})
		r.c.Apply(peers.StartGeneration{Number: 2})
		time.Sleep(time.Minute)
		r.c.Down(true)
		r.restart()
		time.Sleep(time.Minute)
		if got := r.restored(); got != "" {
			t.Errorf("restored %s", got)
		}
	})
}

// TestContest: somebody deletes a route for ever. It is put back for ever, in few lines of the log, and he is
// complained of as long as he goes on.
func TestContest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		route := r.state().Routes[len(r.state().Routes)-1]
		lines := strings.Count(r.log.String(), "\n")
		for range 600 {
			r.do(peers.DelRoute{Route: route})
			time.Sleep(time.Second)
		}
		s := r.status()
		if codes(s) != "contested" || s.State != wire.StateDegraded || s.Problems[0].Hint == "" {
			t.Errorf("state %s, problems %+v", s.State, s.Problems)
		}
		if got := r.restored(); got != "route=600" {
			t.Errorf("restored %s", got)
		}
		if n := strings.Count(r.log.String(), "\n") - lines; n > 12 {
			t.Errorf("%d lines in ten minutes:\n%s", n, r.log)
		}
		time.Sleep(2 * time.Minute)
		if s := r.status(); s.State != wire.StateOK {
			t.Errorf("he has let go, and yet: %s, %+v", s.State, s.Problems)
		}
	})
}

// TestLostPeerIsAskedAtOnce: the host that joined first does not wait until a peer, which believes in a session that
// is gone, has something to say.
func TestLostPeerIsAskedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.member()
		r.c.AddHost("late", "198.51.100.5:51820")
		late := r.key("late", 1)
		r.kernel.set(func() { r.kernel.silent[late] = true })
		r.eventually("it is there", 10*time.Second, func() bool { return len(r.status().Peers) == 1 })
		if text := r.kernel.String(); strings.Contains(text, "keepalive") {
			t.Fatalf("the host that joined first asks at once:\n%s", text)
		}
		r.do(peers.DelPeer{Link: "wrn1", Key: late})
		r.eventually("it asks", 5*time.Second, func() bool { return strings.Contains(r.kernel.String(), "keepalive") })
	})
}
