package linux

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

func testEmpty(t *testing.T, s subject) {
	state := s.observe(t)
	if len(state.Links)+len(state.Routes)+len(state.Foreign) != 0 || !state.IPv6 {
		t.Errorf("an empty host has %+v", state)
	}
}

func testPlan(t *testing.T, s subject) {
	plan := planFor(3)
	state := s.observe(t)
	s.apply(t, peers.Diff(state, plan)...)
	state = s.observe(t)
	if steps := peers.Diff(state, plan); len(steps) != 0 {
		t.Errorf("the second time there is something to do: %v", steps)
	}
	before := s.writes()
	s.apply(t, peers.Diff(state, plan)...)
	if n := s.writes() - before; n != 0 {
		t.Errorf("the second time took %d messages", n)
	}
	l := state.Links[0]
	if len(state.Links) != 1 || l.Name != "wrn0" || l.Index == 0 || !l.Up || l.MTU != 1420 || l.Port != 51820 ||
		l.Public != public("self") || l.Backend != s.kernel.Backend() || len(l.Peers) != 3 {
		t.Errorf("links: %+v", state.Links)
	}
	samePrefixes(t, "addresses", l.Addresses, "10.90.0.1/32", "fd00:90::1/128")
	p, ok := l.Peer(public("host1"))
	if !ok || !p.PSK.Equal(*preshared("host1")) || p.Endpoint != netip.MustParseAddrPort("198.51.100.7:1001") ||
		p.Keepalive != 25 || !p.LastHandshake.IsZero() || p.Rx != 0 {
		t.Errorf("a peer: %+v", p)
	}
	s.allowed(t, "host1", "10.90.1.1/32", "fd00:90::101/128")
	if len(state.Foreign) != 0 {
		t.Errorf("our own networks count as foreign: %v", state.Foreign)
	}
	s.routed(t, "unreachable 10.90.0.0/16 proto 119", "unreachable fd00:90::/48 proto 119",
		"10.90.1.0/32 dev wrn0 proto 119 src 10.90.0.1", "fd00:90::100/128 dev wrn0 proto 119 src fd00:90::1",
		"10.90.1.1/32 dev wrn0 proto 119 src 10.90.0.1", "fd00:90::101/128 dev wrn0 proto 119 src fd00:90::1",
		"10.90.1.2/32 dev wrn0 proto 119 src 10.90.0.1", "fd00:90::102/128 dev wrn0 proto 119 src fd00:90::1",
	)
}

func testRPFilter(t *testing.T, s subject) {
	plan := planFor(1)
	s.apply(t, peers.Diff(s.observe(t), plan)...)
	if got := s.link(t, "wrn0").RPFilter; got != peers.LooseRPFilter {
		t.Errorf("rp_filter is %d", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes, err := s.kernel.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.strict("wrn0")
	awaitChange(t, changes, "that a filter was made strict")
	if got := s.link(t, "wrn0").RPFilter; got != 1 {
		t.Errorf("rp_filter is %d", got)
	}
	steps := peers.Diff(s.observe(t), plan)
	if want := (peers.SetRPFilter{Link: "wrn0"}); len(steps) != 1 || steps[0] != want {
		t.Fatalf("steps %v", steps)
	}
	s.apply(t, steps...)
	if steps := peers.Diff(s.observe(t), plan); len(steps) != 0 {
		t.Errorf("again %v", steps)
	}
	err = s.kernel.Apply(t.Context(), []peers.Step{peers.SetRPFilter{Link: "wrn1"}})
	if err == nil || !strings.Contains(err.Error(), "no interface wrn1") {
		t.Errorf("on a link that is not there: %v", err)
	}
}

func testGuard(t *testing.T, s subject) {
	plan := planFor(1)
	s.apply(t, peers.Diff(s.observe(t), plan)...)
	if got := s.observe(t).Guard; !got.There || got.Digest != plan.Guard().Digest() {
		t.Fatalf("the table: %+v", got)
	}
	changes, err := s.kernel.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.flush()
	awaitChange(t, changes, "that all rules were flushed")
	if got := s.observe(t).Guard; got.There {
		t.Errorf("the table: %+v", got)
	}
	steps := peers.Diff(s.observe(t), plan)
	if want := (peers.SetGuard{Guard: plan.Guard()}); len(steps) != 1 || steps[0].String() != want.String() {
		t.Fatalf("steps %v", steps)
	}
	s.apply(t, steps...)
	if steps := peers.Diff(s.observe(t), plan); len(steps) != 0 {
		t.Errorf("again %v", steps)
	}
	s.apply(t, peers.Diff(s.observe(t), peers.Plan{})...)
	if got := s.observe(t); got.Guard.There || len(got.Links)+len(got.Routes) != 0 {
		t.Errorf("a plan of nothing leaves %+v", got)
	}
	s.apply(t, peers.DelGuard{}) // of what is not there
}

// awaitChange waits until somebody tells of a change.
func awaitChange(t *testing.T, changes <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-changes:
	case <-time.After(5 * time.Second):
		t.Error("nobody told " + what)
	}
}

func testDelLink(t *testing.T, s subject) {
	plan := planFor(3)
	s.apply(t, peers.Diff(s.observe(t), plan)...)
	s.apply(t, peers.DelLink{Name: "wrn0"})
	s.routed(t, "unreachable 10.90.0.0/16 proto 119", "unreachable fd00:90::/48 proto 119")
	if l := s.observe(t).Links; len(l) != 0 {
		t.Errorf("links: %+v", l)
	}
	// And everything is back in one go, as after somebody's `ip link delete`.
	s.apply(t, peers.Diff(s.observe(t), plan)...)
	if steps := peers.Diff(s.observe(t), plan); len(steps) != 0 {
		t.Errorf("not all is back: %v", steps)
	}
}

func testRouteMoves(t *testing.T, s subject) {
	s.up(t, "wrn0", 51820)
	s.up(t, "wrn1", 51821)
	route := func(prefix, link, source string) peers.SetRoute {
		return peers.SetRoute{Route: peers.Route{
			Prefix: netip.MustParsePrefix(prefix), Link: link, Source: netip.MustParseAddr(source),
		}}
	}
	s.apply(t,
		peers.SetRoute{Route: peers.Route{Prefix: netip.MustParsePrefix("10.20.0.0/24")}},
		peers.SetRoute{Route: peers.Route{Prefix: netip.MustParsePrefix("fd00:20::/64")}},
		route("10.20.0.0/24", "wrn0", "10.90.0.1"), route("fd00:20::/64", "wrn0", "fd00:90::1"),
		route("10.20.0.0/24", "wrn1", "10.90.0.1"), route("fd00:20::/64", "wrn1", "fd00:90::1"),
	)
	s.routed(t, "unreachable 10.20.0.0/24 proto 119", "unreachable fd00:20::/64 proto 119",
		"10.20.0.0/24 dev wrn1 proto 119 src 10.90.0.1", "fd00:20::/64 dev wrn1 proto 119 src fd00:90::1")
	for _, r := range []peers.SetRoute{
		route("10.20.0.0/24", "wrn1", "10.90.0.1"), route("fd00:20::/64", "wrn1", "fd00:90::1"),
	} {
		s.apply(t, peers.DelRoute(r))
	}
	s.routed(t, "unreachable 10.20.0.0/24 proto 119", "unreachable fd00:20::/64 proto 119")
	s.apply(t,
		peers.DelRoute{Route: peers.Route{Prefix: netip.MustParsePrefix("10.20.0.0/24")}},
		peers.DelRoute{Route: peers.Route{Prefix: netip.MustParsePrefix("fd00:20::/64")}},
	)
	s.routed(t)
}

func testNarrowRoute(t *testing.T, s subject) {
	s.up(t, "wrn0", 51820)
	route := func(prefix, source string, mtu int) peers.SetRoute {
		return peers.SetRoute{Route: peers.Route{
			Prefix: netip.MustParsePrefix(prefix), Link: "wrn0", Source: netip.MustParseAddr(source), MTU: mtu,
		}}
	}
	wide4, wide6 := route("10.20.0.0/24", "10.90.0.1", 0), route("fd00:20::/64", "fd00:90::1", 0)
	for _, mtu := range []int{1300, 1290} {
		s.apply(t, wide4, wide6)
		s.routed(t, wide4.Route.String(), wide6.Route.String())
		narrow4, narrow6 := route("10.20.0.0/24", "10.90.0.1", mtu), route("fd00:20::/64", "fd00:90::1", mtu)
		s.apply(t, narrow4, narrow6)
		s.routed(t, narrow4.Route.String(), narrow6.Route.String())
	}
	s.apply(t, peers.DelRoute(wide4), peers.DelRoute(wide6)) // whatever their MTU
	s.routed(t)
}

func testBadRoutes(t *testing.T, s subject) {
	s.apply(t, peers.AddLink{Name: "wrn0", MTU: 1420})
	s.up(t, "wrn1", 51821)
	prefix := netip.MustParsePrefix("10.20.0.0/24")
	err := s.kernel.Apply(t.Context(), []peers.Step{
		peers.SetRoute{Route: peers.Route{Prefix: prefix, Link: "wrnx"}},
		peers.SetRoute{Route: peers.Route{Prefix: prefix, Link: "wrn0"}},
		peers.SetRoute{Route: peers.Route{Prefix: prefix, Link: "wrn1", Source: netip.MustParseAddr("10.1.1.1")}},
		peers.SetRoute{Route: peers.Route{Prefix: netip.MustParsePrefix("10.21.0.0/24"), Link: "wrn1"}},
	})
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "route replace 10.20.0.0/24 dev wrnx") ||
		!strings.Contains(lines[1], "network is down") || !strings.Contains(lines[2], "invalid argument") {
		t.Errorf("errors:\n%v", err)
	}
	s.routed(t, "10.21.0.0/24 dev wrn1 proto 119")
}

func testDelAddress(t *testing.T, s subject) {
	plan := planFor(1)
	s.apply(t, peers.Diff(s.observe(t), plan)...)
	s.up(t, "wrn1", 51821)
	del := func(link string) []peers.Step {
		return []peers.Step{
			peers.DelAddress{Link: link, Prefix: netip.MustParsePrefix("10.90.0.1/32")},
			peers.DelAddress{Link: link, Prefix: netip.MustParsePrefix("fd00:90::1/128")},
		}
	}
	s.apply(t, del("wrn1")...)
	steps := peers.Diff(s.observe(t), plan)
	if want := (peers.DelLink{Name: "wrn1"}); len(steps) != 1 || steps[0] != want {
		t.Errorf("an address that another link has as well mattered: %v", steps)
	}
	s.apply(t, del("wrn0")...)
	s.routed(t, "unreachable 10.90.0.0/16 proto 119", "unreachable fd00:90::/48 proto 119",
		"fd00:90::100/128 dev wrn0 proto 119")
}

func testRemoveNothing(t *testing.T, s subject) {
	s.up(t, "wrn0", 51820)
	s.apply(t,
		peers.DelRoute{Route: peers.Route{Prefix: netip.MustParsePrefix("10.20.0.0/24"), Link: "wrn0"}},
		peers.DelRoute{Route: peers.Route{Prefix: netip.MustParsePrefix("fd00:20::/64"), Link: "wrn1"}},
		peers.DelRoute{Route: peers.Route{Prefix: netip.MustParsePrefix("fd00:20::/64")}},
		peers.DelAddress{Link: "wrn0", Prefix: netip.MustParsePrefix("10.90.7.7/32")},
		peers.DelAddress{Link: "wrn0", Prefix: netip.MustParsePrefix("fd00:90::7/128")},
		peers.DelLink{Name: "wrn1"},
		peers.AddAddress{Link: "wrn0", Prefix: netip.MustParsePrefix("10.90.0.1/32")},
	)
}

func testOccupied(t *testing.T, s subject) {
	s.occupy("wrn0")
	before := s.link(t, "wrn0")
	if before.Backend != "" {
		t.Errorf("somebody else's link counts as ours: %+v", before)
	}
	plan := planFor(2)
	state := s.observe(t)
	err := s.kernel.Apply(t.Context(), append(peers.Diff(state, plan), peers.DelLink{Name: "wrn0"}))
	if !errors.Is(err, peers.ErrForeign) || strings.Count(err.Error(), "\n") != 0 {
		t.Errorf("error %v, want one that says whose link it is", err)
	}
	after := s.link(t, "wrn0")
	if after.Index != before.Index || after.MTU != before.MTU || after.Up != before.Up || len(after.Addresses) != 0 {
		t.Errorf("somebody else's link was touched: %+v", after)
	}
	s.routed(t, "unreachable 10.90.0.0/16 proto 119", "unreachable fd00:90::/48 proto 119")
}

func testForeign(t *testing.T, s subject) {
	s.connect(netip.MustParsePrefix("10.20.0.1/24"))
	s.up(t, "wrn0", 51820)
	state := s.observe(t)
	want := peers.Foreign{Prefix: netip.MustParsePrefix("10.20.0.0/24"), Link: "lan", Connected: true}
	if !slices.Equal(state.Foreign, []peers.Foreign{want}) {
		t.Errorf("networks of others: %v, want %v", state.Foreign, want)
	}
}

func testWatch(t *testing.T, s subject) {
	s.up(t, "wrn0", 51820)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := s.kernel.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.delete("wrn0")
	awaitChange(t, c, "that a link was deleted")
	cancel()
	nettest.Eventually(t, "the channel is closed", func() bool {
		select {
		case _, open := <-c:
			return !open
		default:
			return false
		}
	})
}

func testDone(t *testing.T, s subject) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.kernel.Apply(ctx, []peers.Step{peers.AddLink{Name: "wrn0", MTU: 1420}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := s.kernel.Observe(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if l := s.observe(t).Links; len(l) != 0 {
		t.Errorf("links: %+v", l)
	}
}
