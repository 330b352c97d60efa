package peers_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// settled is a kernel that has what the plan of shop says, and has shaken hands with its peers.
func settled(t *testing.T) (*kernel, peers.Plan) {
	t.Helper()
	p := planOf(t, threeSites(t), "shop")
	k := applied(t, p)
	for _, peer := range k.links["wrn1"].peers {
		peer.LastHandshake = time.Unix(1_800_000_000, 0)
	}
	for _, step := range peers.Diff(k.state(), p) {
		if err := k.apply(step); err != nil {
			t.Fatal(err)
		}
	}
	return k, p
}

func anyPeer(l *kernelLink) *peers.LinkPeer {
	for _, k := range slices.SortedFunc(maps.Keys(l.peers), func(a, b key.Public) int { return slices.Compare(a[:], b[:]) }) {
		return l.peers[k]
	}
	return nil
}

func kinds(us []peers.Undoing) string {
	var out []string
	for _, u := range us {
		out = append(out, u.Kind)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestUndone: what somebody does to what is ours is called by its name, once, and what follows from it is not.
func TestUndone(t *testing.T) {
	address := netip.MustParsePrefix("10.90.0.1/32")
	other := key.Public{9}
	for name, c := range map[string]struct {
		do   func(k *kernel, l *kernelLink)
		want string
	}{
		"nothing":         {func(*kernel, *kernelLink) {}, ""},
		"link deleted":    {func(k *kernel, _ *kernelLink) { _ = k.delLink("wrn1") }, "link"},
		"link added":      {func(k *kernel, _ *kernelLink) { k.links["wrn0"] = newKernelLink(1420) }, "link"},
		"link down":       {func(k *kernel, l *kernelLink) { l.up = false; dropRoutes(k, "wrn1") }, "link-down"},
		"MTU":             {func(_ *kernel, l *kernelLink) { l.mtu = 1400 }, "mtu"},
		"port":            {func(_ *kernel, l *kernelLink) { l.port = 9 }, "port"},
		"key":             {func(_ *kernel, l *kernelLink) { l.public = other }, "key"},
		"rp_filter":       {func(_ *kernel, l *kernelLink) { l.rpFilter = 1 }, "rp-filter"},
		"address deleted": {func(k *kernel, l *kernelLink) { _ = k.delAddress(l, address) }, "address"},
		"address added":   {func(_ *kernel, l *kernelLink) { l.addresses[netip.MustParsePrefix("192.0.2.1/32")] = true }, "address"},
		"all routes":      {func(k *kernel, _ *kernelLink) { clear(k.routes); clear(k.nowhere) }, "route route route route route route"},
		"a route of ours": {func(k *kernel, _ *kernelLink) { delete(k.routes, netip.MustParsePrefix("10.90.0.2/32")) }, "route"},
		"the backstop":    {func(k *kernel, _ *kernelLink) { delete(k.nowhere, netip.MustParsePrefix("10.90.0.0/16")) }, "route"},
		"the nftables":    {func(k *kernel, _ *kernelLink) { k.guard = peers.Table{} }, "guard"},
		"peer deleted":    {func(_ *kernel, l *kernelLink) { l.delPeer(anyPeer(l).Key) }, "peer"},
		"peer added":      {func(_ *kernel, l *kernelLink) { l.peers[other] = &peers.LinkPeer{Key: other} }, "peer"},
		"keepalive":       {func(_ *kernel, l *kernelLink) { anyPeer(l).Keepalive = 0 }, "peer"},
		"pre-shared key":  {func(_ *kernel, l *kernelLink) { anyPeer(l).PSK = key.Preshared{} }, "peer"},
		"allowed IPs":     {func(_ *kernel, l *kernelLink) { clear(l.owner) }, "peer peer"},
		"handshakes":      {func(_ *kernel, l *kernelLink) { anyPeer(l).LastHandshake = time.Time{} }, ""},
		"a roaming peer":  {func(_ *kernel, l *kernelLink) { anyPeer(l).Endpoint = netip.MustParseAddrPort("192.0.2.9:9") }, ""},
		"a network nearby": {func(k *kernel, _ *kernelLink) {
			k.foreign = []peers.Foreign{{Prefix: netip.MustParsePrefix("10.90.0.2/32"), Link: "lan"}}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			k, p := settled(t)
			before := k.state()
			c.do(k, k.links["wrn1"])
			now := k.state()
			if got := peers.Undone(before, now, p, peers.Diff(now, p)); kinds(got) != c.want {
				t.Errorf("undone %+v, want %q", got, c.want)
			}
		})
	}
}

// TestUndonePlan: what a new plan asks for is nobody's doing, and it hides nothing.
func TestUndonePlan(t *testing.T) {
	k, _ := settled(t)
	before := k.state()
	inv := after(t, threeSites(t), peers.RemoveHost{ID: idOf("warehouse")})
	p := planOf(t, inv, "shop")
	if got := peers.Undone(before, before, p, peers.Diff(before, p)); len(got) > 0 {
		t.Errorf("a new plan: %+v", got)
	}
	k.links["wrn1"].mtu = 1400
	now := k.state()
	if got := kinds(peers.Undone(before, now, p, peers.Diff(now, p))); got != "mtu" {
		t.Errorf("a new plan and another MTU: %q", got)
	}
}

// TestUndoneSilent: a tunnel process that does not answer has undone nothing.
func TestUndoneSilent(t *testing.T) {
	k, p := settled(t)
	before, now := k.state(), k.state()
	now.Links[0] = peers.Link{Name: "wrn1", Index: now.Links[0].Index, Up: true, MTU: 1420}
	if got := peers.Undone(before, now, p, peers.Diff(now, p)); len(got) > 0 {
		t.Errorf("undone %+v", got)
	}
}

// TestUndoneAnything: whatever a kernel has, nothing is undone as long as nobody touches it.
func TestUndoneAnything(t *testing.T) {
	inv := threeSites(t)
	p := planOf(t, inv, "shop")
	rapid.Check(t, func(t *rapid.T) {
		k := someKernel(t, p)
		before := k.state()
		for _, l := range k.links {
			for _, peer := range l.peers {
				if rapid.Bool().Draw(t, "answers") {
					peer.LastHandshake = time.Unix(1_800_000_000, 0)
				}
			}
		}
		now := k.state()
		if got := peers.Undone(before, now, p, peers.Diff(now, p)); len(got) > 0 {
			t.Fatalf("undone %+v", got)
		}
	})
}

func dropRoutes(k *kernel, link string) {
	maps.DeleteFunc(k.routes, func(_ netip.Prefix, r peers.Route) bool { return r.Link == link })
}
