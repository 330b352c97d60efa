package agent_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/agent"
	"github.com/warren-mesh/warren/peers"
)

// A cutter is a network in which the controller is out of reach while the host has a route that covers it.
type cutter struct {
	*rig
	covered netip.Prefix
	down    atomic.Bool // the controller itself
}

func newCutter(t *testing.T) *cutter {
	t.Helper()
	c := &cutter{rig: newRig(t), covered: netip.MustParsePrefix("203.0.113.0/24")}
	c.edit = func(cfg *agent.Config) {
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if c.down.Load() || c.routed(c.covered) {
				return nil, errors.New("no route to host")
			}
			return c.c.Dial(ctx, network, address)
		}
	}
	c.start()
	token := c.c.Token()
	token.Controllers = []string{"203.0.113.5:7443"}
	if _, err := c.enroll(token.Encode()); err != nil {
		t.Fatal(err)
	}
	c.c.AddHost("wh-gw", "198.51.100.2:51820", func(op *peers.CreateToken) { op.Site = "warehouse" })
	c.eventually("the gateway is a peer", time.Minute, func() bool { return len(c.status().Peers) == 1 })
	return c
}

// routed reports whether the host has a route of ours to a network.
func (c *cutter) routed(p netip.Prefix) bool { return c.hasRoute(p, false) }

// hasRoute reports whether the host has a route of ours to a network, by way of a tunnel or not.
func (c *cutter) hasRoute(p netip.Prefix, tunnel bool) bool {
	s, err := c.kernel.Fake.Observe(context.Background())
	if err != nil {
		c.t.Error(err)
	}
	return slices.ContainsFunc(s.Routes, func(r peers.Route) bool { return r.Prefix == p && (!tunnel || r.Link != "") })
}

// site gives the site of the gateway its networks.
func (c *cutter) site(prefixes ...string) {
	c.t.Helper()
	h, _ := c.c.Inventory().HostNamed("wh-gw")
	op := peers.SetSite{Name: h.Site, Gateways: []string{"wh-gw"}}
	for _, p := range prefixes {
		op.Prefixes = append(op.Prefixes, peers.SitePrefix{Prefix: netip.MustParsePrefix(p)})
	}
	c.c.Apply(op)
	synctest.Wait()
}

func (c *cutter) withdrawn() bool {
	return slices.ContainsFunc(c.status().Problems, func(p peers.Problem) bool { return p.Code == "plan-withdrawn" })
}

// TestRetreat: networks that cut the host off from the controller are taken back within a minute, and stay out, also
// after a restart, until there are others; what else is new in the plan stays.
func TestRetreat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCutter(t)
		good := netip.MustParsePrefix("10.20.0.0/24")
		c.site("10.20.0.0/24")
		c.eventually("the first network is routed", time.Minute, func() bool { return c.routed(good) })
		time.Sleep(time.Minute)
		c.site("10.20.0.0/24", "203.0.113.0/24")
		c.eventually("the second one is routed", 5*time.Second, func() bool { return c.routed(c.covered) })
		c.eventually("the host is back", time.Minute, func() bool { return !c.routed(c.covered) && c.withdrawn() })
		if !c.routed(good) {
			t.Error("the first network is not routed any more")
		}
		c.c.AddHost("late", "198.51.100.3:51820")
		c.eventually("what is new comes", time.Minute, func() bool { return len(c.status().Peers) == 2 })
		c.stop()
		c.start()
		time.Sleep(time.Minute)
		if c.routed(c.covered) || !c.withdrawn() || len(c.status().Peers) != 2 {
			t.Errorf("after a restart: routed %v, %+v", c.routed(c.covered), c.status().Problems)
		}
		c.site("10.20.0.0/24", "10.21.0.0/24")
		c.eventually("others are taken", time.Minute, func() bool {
			return c.routed(netip.MustParsePrefix("10.21.0.0/24")) && !c.withdrawn()
		})
	})
}

// TestRetreatAfterCrash: an agent that ends before it has gone back is followed by one that does.
func TestRetreatAfterCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCutter(t)
		c.site("203.0.113.0/24")
		c.eventually("it is routed", 5*time.Second, func() bool { return c.routed(c.covered) })
		c.stop()
		c.start()
		c.eventually("the host is back", time.Minute, func() bool { return !c.routed(c.covered) && c.withdrawn() })
	})
}

// TestRetreatIsNoExcuse: a revoked host does not come back with the networks from before.
func TestRetreatIsNoExcuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCutter(t)
		good := netip.MustParsePrefix("10.20.0.0/24")
		c.site("10.20.0.0/24")
		c.eventually("the network is routed", time.Minute, func() bool { return c.routed(good) })
		time.Sleep(time.Minute)
		c.site("203.0.113.0/24")
		c.c.Apply(peers.SetHostState{ID: hostID(c.rig, "wh-gw"), State: peers.HostRevoked})
		time.Sleep(2 * time.Minute)
		if n := len(c.status().Peers); n != 0 || c.hasRoute(good, true) || c.routed(c.covered) {
			t.Errorf("%d peers, routed %v, %v", n, c.routed(good), c.routed(c.covered))
		}
	})
}

// TestNoRetreatWithoutController: where the controller is simply away, what it has said stays, whenever it went.
func TestNoRetreatWithoutController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCutter(t)
		c.covered = netip.MustParsePrefix("192.0.2.0/25") // which no site has
		fine := netip.MustParsePrefix("10.20.0.0/24")
		c.down.Store(true)
		c.site("10.20.0.0/24")
		c.c.Down(true)
		c.eventually("the network is routed", 5*time.Second, func() bool { return c.routed(fine) })
		for range 600 {
			time.Sleep(time.Second)
			if !c.routed(fine) {
				t.Fatal("a network was taken away, and the controller is only away")
			}
		}
		if c.withdrawn() {
			t.Error("it says that it was taken away")
		}
	})
}

// TestRetreatGoesForward: where the networks from before do not help either, the new ones come back; when the
// controller answers again at last, the host finds out.
func TestRetreatGoesForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCutter(t)
		c.down.Store(true)
		c.site("203.0.113.0/24")
		c.eventually("it is routed", 5*time.Second, func() bool { return c.routed(c.covered) })
		c.eventually("it is tried without", time.Minute, func() bool { return !c.routed(c.covered) })
		c.eventually("that does not help", time.Minute, func() bool { return c.routed(c.covered) })
		c.down.Store(false)
		c.eventually("the host is back", 10*time.Minute, func() bool { return !c.routed(c.covered) && c.withdrawn() })
	})
}
