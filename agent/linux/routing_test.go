package linux

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// hasRoute looks at the host and says whether a route of ours is there, and whether routes were read for that.
func hasRoute(t *testing.T, k *Kernel, want peers.Route) (has, read bool) {
	t.Helper()
	before := k.routing.reads
	state, err := k.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(state.Routes, want), k.routing.reads != before
}

// settled waits until looks at the host do without the routes.
func settled(t *testing.T, k *Kernel, want peers.Route) {
	t.Helper()
	nettest.Eventually(t, "routes are kept", func() bool {
		has, read := hasRoute(t, k, want)
		return has && !read
	})
}

// TestRoutesKept wants routes to be read again when they may have changed, by us, by others or with something else, and
// not otherwise.
func TestRoutesKept(t *testing.T) {
	k := newKernel(t)
	k.routing.quiet = 2 * settle
	(&subject{kernel: k}).up(t, "wrn0", 51820)
	addBridge(t, "lan", prefixes("192.168.1.2/24")...)
	route := peers.Route{Prefix: netip.MustParsePrefix("10.20.0.0/24"), Link: "wrn0"}
	other := peers.Route{Prefix: netip.MustParsePrefix("10.21.0.0/24"), Link: "wrn0"}
	set := func(r peers.Route) error { return k.Apply(t.Context(), []peers.Step{peers.SetRoute{Route: r}}) }
	if err := set(route); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, read := hasRoute(t, k, route); !read {
			t.Fatal("routes are kept, and nobody listens for changes")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := k.Watch(ctx); err != nil {
		t.Fatal(err)
	}
	settled(t, k, route)
	link, err := netlink.LinkByName("wrn0")
	if err != nil {
		t.Fatal(err)
	}
	gone := routeTo(route)
	gone.LinkIndex = link.Attrs().Index
	if err := netlink.RouteDel(gone); err != nil {
		t.Fatal(err)
	}
	nettest.Eventually(t, "a route is gone that somebody has deleted", func() bool {
		has, _ := hasRoute(t, k, route)
		return !has
	})
	if err := set(route); err != nil {
		t.Fatal(err)
	}
	settled(t, k, route)
	if err := set(other); err != nil {
		t.Fatal(err)
	}
	if has, _ := hasRoute(t, k, other); !has {
		t.Error("a route that was set just now is not there")
	}
	settled(t, k, route)
	if err := netlink.LinkSetDown(link); err != nil {
		t.Fatal(err)
	}
	nettest.Eventually(t, "routes are gone with their link", func() bool {
		has, _ := hasRoute(t, k, route)
		return !has
	})
	cancel()
	nettest.Eventually(t, "routes are read when nobody listens any more", func() bool {
		_, read := hasRoute(t, k, route)
		return read
	})
}

// TestRoutingSettles keeps nothing that was read while something changed, or right afterwards.
func TestRoutingSettles(t *testing.T) {
	r := newRouting()
	r.listened(true)
	own := map[int]string{7: "wrn0"}
	read := func() peers.State { return peers.State{Routes: []peers.Route{{Link: "wrn0"}}} }
	at := func(after time.Duration) time.Time { return r.start.Add(time.Duration(r.last.Load()) + after) }
	kept := func(now time.Time, own map[int]string) bool {
		var s peers.State
		return r.fill(&s, own, now) && len(s.Routes) == 1
	}
	keep := func(after time.Duration, seen uint64) time.Time {
		s := read()
		r.keep(&s, own, seen, at(after))
		return at(after)
	}
	if now := keep(routesQuiet/2, r.events.Load()); kept(now, own) {
		t.Error("routes read right after an event were kept")
	}
	now := keep(routesQuiet, r.events.Load())
	if !kept(now, own) || !kept(now.Add(routesKept-1), own) {
		t.Error("routes were not kept")
	}
	if kept(now.Add(routesKept), own) {
		t.Error("routes were kept too long")
	}
	if kept(now, map[int]string{8: "wrn0"}) {
		t.Error("routes of another link were kept")
	}
	seen := r.events.Load()
	r.heard()
	if now := keep(routesQuiet, seen); kept(now, own) {
		t.Error("routes were kept that changed while they were read")
	}
	if now = keep(routesQuiet, r.events.Load()); !kept(now, own) {
		t.Error("routes were not kept")
	}
	r.listened(false)
	if kept(now, own) {
		t.Error("routes were kept while nobody listens")
	}
}
