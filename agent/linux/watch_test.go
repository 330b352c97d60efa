package linux

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// woken says whether an event comes, at once or within the time that a quiet network takes to settle.
func woken(c <-chan struct{}, within time.Duration) bool {
	select {
	case _, open := <-c:
		return open
	case <-time.After(within):
		return false
	}
}

// TestWatchConcerns wants events of what bears on us, and none of what does not.
func TestWatchConcerns(t *testing.T) {
	k := newKernel(t)
	s := subject{kernel: k}
	addBridge(t, "lan", prefixes("192.168.1.2/24")...)
	lan, err := netlink.LinkByName("lan")
	if err != nil {
		t.Fatal(err)
	}
	s.up(t, "wrn0", 51820)
	c, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for woken(c, 4*settle) {
		continue // what the network did before
	}
	route := func(text string, table int) *netlink.Route {
		return &netlink.Route{
			Dst: ipNet(netip.MustParsePrefix(text)), Table: table, LinkIndex: lan.Attrs().Index, Scope: netlink.SCOPE_LINK,
		}
	}
	for _, event := range []struct {
		name string
		wake bool
		do   func() error
	}{
		{"a route of somebody else", true, func() error { return netlink.RouteAdd(route("10.1.0.0/16", 254)) }},
		{"a route in another table", false, func() error { return netlink.RouteAdd(route("10.1.0.0/16", 100)) }},
		{"a link-local address", false, func() error {
			return netlink.AddrAdd(lan, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("fe80::77/64"))})
		}},
		{"a default route", false, func() error { return netlink.RouteAdd(route("0.0.0.0/0", 254)) }},
		{"an address of somebody else", true, func() error {
			return netlink.AddrAdd(lan, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("10.5.0.1/24"))})
		}},
		{"a name for somebody else's link", false, func() error { return netlink.LinkSetAlias(lan, "office") }},
		{"somebody else's link goes down", true, func() error { return netlink.LinkSetDown(lan) }},
		{"a step of ours", true, func() error {
			return k.Apply(t.Context(), []peers.Step{peers.SetRoute{Route: peers.Route{
				Prefix: netip.MustParsePrefix("10.20.0.0/24"), Link: "wrn0",
			}}})
		}},
		{"a strict filter", true, func() error { sysctl(t, "net/ipv4/conf/wrn0/rp_filter", "1"); return nil }},
		{"another setting", false, func() error { sysctl(t, "net/ipv4/conf/wrn0/proxy_arp", "1"); return nil }},
		{"a table of our name", true, func() error { return addTable(peers.GuardTable) }},
		{"a table of another name", false, func() error { return addTable("office") }},
		{"an observation", false, func() error { _, err := k.Observe(t.Context()); return err }},
	} {
		if err := event.do(); err != nil {
			t.Fatalf("%s: %v", event.name, err)
		}
		within := 4 * settle
		if event.wake {
			within = 5 * time.Second
		}
		if got := woken(c, within); got != event.wake {
			t.Errorf("%s: event %v, want %v", event.name, got, event.wake)
		}
		for woken(c, 4*settle) {
			continue // its echo
		}
	}
}

// TestWatchOverflow has more happen than the kernel keeps for a listener.
func TestWatchOverflow(t *testing.T) {
	nettest.Alone(t)
	sub, err := subscribe(network)
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.SetReceiveBufferSize(1, false); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		addBridge(t, "lan", prefixes("192.168.1.2/24")...)
		link, err := netlink.LinkByName("lan")
		if err == nil {
			err = netlink.LinkDel(link)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	raw := make(chan struct{}, 1)
	ended := make(chan error, 1)
	k := &Kernel{ways: &ways{}, routing: newRouting()}
	go func() { ended <- k.receive(sub, raw) }()
	if !woken(raw, 5*time.Second) {
		t.Error("no event for what was dropped")
	}
	// The subscription goes on.
	for woken(raw, 4*settle) {
		continue
	}
	addBridge(t, "lan", prefixes("192.168.1.2/24")...)
	if !woken(raw, 5*time.Second) {
		t.Error("no event after an overflow")
	}
	sub.Close()
	if err := <-ended; err == nil {
		t.Error("a closed subscription is no error")
	}
}

// TestWatchBroken closes the subscription under a watch, which must get another one.
func TestWatchBroken(t *testing.T) {
	k := newKernel(t)
	sub, err := subscribe(network)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	raw, ended := make(chan struct{}, 1), make(chan struct{})
	go func() { defer close(ended); k.listen(ctx, sub, raw) }()
	sub.Close()
	if !woken(raw, 5*resubscribe) {
		t.Error("no event after an interruption")
	}
	cancel()
	<-ended
}
