package agent_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

func (r *rig) peer(name string) wire.PeerStatus {
	r.t.Helper()
	for _, p := range r.status().Peers {
		if p.Host == name {
			return p
		}
	}
	r.t.Fatalf("no peer %s", name)
	return wire.PeerStatus{}
}

// TestPeerStates follows a peer that never answers, then answers, then falls silent.
func TestPeerStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		r.c.AddHost("branch", "198.51.100.4:51820")
		r.silence("branch")
		synctest.Wait()
		if p := r.peer("branch"); p.State != wire.PeerConnecting {
			t.Errorf("at first it is %s", p.State)
		}
		time.Sleep(19 * time.Second)
		if p := r.peer("branch"); p.State != wire.PeerConnecting {
			t.Errorf("after 19 s it is %s", p.State)
		}
		time.Sleep(2 * time.Second)
		if p := r.peer("branch"); p.State != wire.PeerDown || p.LastHandshake != nil {
			t.Errorf("after 21 s it is %s", p.State)
		}
		if s := r.status(); s.State != wire.StateDegraded {
			t.Errorf("the host is %s with one peer down", s.State)
		}
		if err := r.kernel.Handshake("wrn1", r.key("branch", 1), netip.MustParseAddrPort("203.0.113.9:1024"), time.Now()); err != nil {
			t.Fatal(err)
		}
		r.kernel.set(func() { clear(r.kernel.silent) })
		r.eventually("it answers", time.Second, func() bool { return r.peer("branch").State == wire.PeerUp })
		if p := r.peer("branch"); p.Endpoint != "203.0.113.9:1024" {
			t.Errorf("it was heard from %s", p.Endpoint)
		}
		time.Sleep(10 * time.Minute)
		if p := r.peer("branch"); p.State != wire.PeerUp {
			t.Errorf("ten minutes later it is %s", p.State)
		}
		// Nothing comes any more, while the session would live for three minutes.
		r.kernel.set(func() { r.kernel.deaf[r.key("branch", 1)] = true })
		began := time.Now()
		r.eventually("the silence is noticed", 100*time.Second, func() bool { return r.peer("branch").State == wire.PeerDown })
		t.Logf("noticed after %v", time.Since(began))
	})
}

// TestSilentButWell: a peer whose keepalives never come, because ours always come first, is up all the time, as it answers
// when it is asked; and down when it does not.
func TestSilentButWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		late := r.key("warehouse", 1)
		r.kernel.set(func() { r.kernel.late[late] = true })
		address := r.peer("warehouse").Address
		r.probes.answer(func(to netip.Addr) {
			if to != address {
				t.Errorf("%v is asked, which sends keepalives", to)
			}
			if err := r.kernel.Transfer("wrn1", late, 32, 32); err != nil {
				t.Error(err)
			}
		})
		for range 200 {
			time.Sleep(3 * time.Second)
			if s := r.status(); s.State != wire.StateOK {
				t.Fatalf("the host is %s, its peer %s", s.State, r.peer("warehouse").State)
			}
		}
		if n := r.probes.nudgesOf(); n < 10 || n > 30 {
			t.Errorf("it was asked %d times in ten minutes, want once in half a minute", n)
		}
		r.kernel.set(func() { r.kernel.deaf[late] = true })
		r.probes.answer(nil)
		r.eventually("the silence is noticed", 100*time.Second, func() bool { return r.peer("warehouse").State == wire.PeerDown })
	})
}

// TestNobodyReachable: with peers, and none of them up, a host is down.
func TestNobodyReachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		r.kernel.set(func() {
			r.kernel.deaf[r.key("warehouse", 1)] = true
			r.kernel.deaf[r.key("accounting", 1)] = true
		})
		time.Sleep(4 * time.Minute)
		if s := r.status(); s.State != wire.StateDown {
			t.Errorf("the host is %s", s.State)
		}
	})
}

// TestRoaming: a peer that does not answer at its first address is tried at the next, and one that answers
// is never touched.
func TestRoaming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		id := r.c.AddHost("branch", "198.51.100.4:51820")
		r.silence("branch")
		r.c.Apply(peers.UpdateHost{ID: id, Endpoints: []peers.Endpoint{
			{Kind: peers.EndpointPinned, Address: netip.MustParseAddrPort("198.51.100.4:51820")},
			{Kind: peers.EndpointLocal, Address: netip.MustParseAddrPort("[2001:db8::4]:51820")},
		}})
		r.eventually("the second candidate", 8*time.Second, func() bool { return r.peer("branch").Endpoint == "[2001:db8::4]:51821" })
		r.eventually("the first again", 8*time.Second, func() bool { return r.peer("branch").Endpoint == "198.51.100.4:51821" })
		time.Sleep(time.Hour)
		for _, s := range r.kernel.taken() {
			if strings.Contains(s, "endpoint") && !strings.Contains(s, "# branch") {
				t.Errorf("a peer that answers was touched: %s", s)
			}
		}
	})
}

// TestNoIPv6: a host without IPv6 does without, and that is no problem.
func TestNoIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.kernel.SetIPv6(false)
		r.c.AddHost("warehouse", "198.51.100.2:51820")
		r.member()
		r.eventually("all is well", 10*time.Second, func() bool { return r.status().State == wire.StateOK })
		for _, p := range r.state().Routes {
			if p.Prefix.Addr().Is6() {
				t.Errorf("route %v", p)
			}
		}
		if len(r.probes.own) != 1 {
			t.Errorf("answers on %v", r.probes.own)
		}
	})
}

func TestProbesAreForPeersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		r.probes.mu.Lock()
		defer r.probes.mu.Unlock()
		if len(r.probes.own) != 2 || len(r.probes.known) != 4 {
			t.Errorf("answers on %v to %v, want both families of itself and of two peers", r.probes.own, r.probes.known)
		}
	})
}

// TestRenumbered: the host gets another address; the controller hears of it.
func TestRenumbered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		address := netip.MustParseAddr("192.0.2.10")
		r.addresses = func() []netip.Addr { return []netip.Addr{address} }
		r.member()
		address = netip.MustParseAddr("192.0.2.99")
		r.kernel.SetForeign() // an event
		r.eventually("a new hello", 5*time.Second, func() bool {
			heard := r.c.Heard()
			for _, up := range heard {
				if up.Hello != nil && len(up.Hello.Endpoints) == 1 && up.Hello.Endpoints[0].Address.Addr() == address {
					return true
				}
			}
			return false
		})
	})
}
