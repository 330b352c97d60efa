package peers_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
)

func TestSetSite(t *testing.T) {
	inv := after(t, threeSites(t), createToken("good", "shop"), enroll("good", "till"),
		peers.SetSite{Name: "warehouse", Prefixes: prefixes("10.20.0.0/16", "fd20::/48")})
	with := func(s ...string) peers.Op { return peers.SetSite{Name: "shop", Prefixes: prefixes(s...)} }
	gateways := func(names ...string) peers.Op { return peers.SetSite{Name: "shop", Gateways: names} }
	at := func(i int) string { return fmt.Sprintf(" site/shop/prefixes/%d", i) }
	gw := func(i int) string { return fmt.Sprintf(" site/shop/gateways/%d", i) }
	checkRules(t, inv, []rule{
		{"new", peers.SetSite{Name: "harbour"}, nil},
		{"prefixes", with("10.10.0.0/24", "10.10.1.0/24", "2001:db8::/32"), nil},
		{"gateways", gateways("till", "shop"), nil},
		{"its own again", peers.SetSite{Name: "warehouse", Prefixes: prefixes("10.20.0.0/24")}, nil},
		{"name", peers.SetSite{Name: "a_b"}, []string{"name-invalid site/a_b"}},
		{"none", peers.SetSite{Name: "shop", Prefixes: []netip.Prefix{{}}}, []string{"prefix-invalid" + at(0)}},
		{"mapped", with("::ffff:10.0.0.0/104"), []string{"prefix-invalid" + at(0)}},
		{"host bits", with("10.10.0.1/24"), []string{"prefix-invalid" + at(0)}},
		{"default", with("0.0.0.0/0"), []string{"prefix-default" + at(0), "site-overlap" + at(0)}},
		{"multicast", with("224.0.0.0/8"), []string{"prefix-invalid" + at(0)}},
		{"loopback", with("127.0.0.0/8"), []string{"prefix-invalid" + at(0)}},
		{"link-local", with("fe80::/64"), []string{"prefix-invalid" + at(0)}},
		{"overlay", with("10.90.7.0/24"), []string{"overlay-overlap" + at(0)}},
		{"overlay IPv6", with("fd00::/16"), []string{"overlay-overlap" + at(0)}},
		{"twice", with("10.10.0.0/16", "10.10.7.0/24"), []string{"site-overlap" + at(1)}},
		{"of another site", with("10.20.7.0/24", "fd20::/64"), []string{"site-overlap" + at(0), "site-overlap" + at(1)}},
		{"unknown gateway", gateways("shop", "x"), []string{"host-unknown" + gw(1)}},
		{"gateway elsewhere", gateways("warehouse"), []string{"gateway-site" + gw(0)}},
		{"gateway twice", gateways("shop", "till", "shop"), []string{"gateway-twice" + gw(2)}},
		{"all at once", peers.SetSite{
			Name: "Shop", Prefixes: prefixes("10.20.0.1/16", "10.20.0.0/16"), Gateways: []string{"x", "shop"},
		}, []string{
			"name-invalid site/Shop", "prefix-invalid site/Shop/prefixes/0", "site-overlap site/Shop/prefixes/0",
			"site-overlap site/Shop/prefixes/1", "site-overlap site/Shop/prefixes/1",
			"host-unknown site/Shop/gateways/0", "gateway-site site/Shop/gateways/1",
		}},
	})
}

func TestRemoveSite(t *testing.T) {
	inv := after(t, threeSites(t), peers.SetSite{Name: "empty"}, createToken("b", "waiting"), createToken("a", "waiting"))
	for _, token := range []string{"t-shop", "t-warehouse"} {
		inv = after(t, inv, peers.RevokeToken{ID: token})
	}
	checkRules(t, inv, []rule{
		{"valid", peers.RemoveSite{Name: "empty"}, nil},
		{"unknown", peers.RemoveSite{Name: "x"}, []string{"site-unknown site/x"}},
		{"host", peers.RemoveSite{Name: "shop"}, []string{"site-used site/shop"}},
		{"tokens", peers.RemoveSite{Name: "waiting"}, []string{"site-used site/waiting", "site-used site/waiting"}},
		{"host and token", peers.RemoveSite{Name: "accounting"}, []string{
			"site-used site/accounting", "site-used site/accounting",
		}},
	})
	late := change(peers.RemoveSite{Name: "waiting"})
	late.At = epoch.Add(24 * time.Hour)
	checkProblems(t, inv, late, nil)
}

// TestGateways: the prefixes of a site go to the first of its gateways that others know.
func TestGateways(t *testing.T) {
	inv := after(t, threeSites(t), createToken("good", "shop"), enroll("good", "till"), peers.SetSite{
		Name: "shop", Prefixes: prefixes("10.10.0.0/24", "2001:db8::/48"), Gateways: []string{"shop", "till"},
	})
	holder := func(inv *peers.Inventory) (holder string) {
		for _, h := range inv.SortedHosts() {
			if p, ok := inv.Peer(h.ID); ok && len(p.Prefixes) > 2 {
				holder += h.Name
			}
		}
		return holder
	}
	suspended := after(t, inv, peers.SetHostState{ID: idOf("shop"), State: peers.HostSuspended})
	none := after(t, suspended, peers.SetHostState{ID: idOf("till"), State: peers.HostRevoked})
	rotated := after(t, inv, peers.StartGeneration{Number: 2},
		peers.UpdateHost{ID: idOf("till"), Keys: keysOf("till", 2)}, peers.RetireGeneration{Number: 1})
	for name, c := range map[string]struct {
		inv  *peers.Inventory
		want string
	}{
		"first": {inv, "shop"}, "second": {suspended, "till"}, "none": {none, ""},
		"first has no key in use": {rotated, "till"},
	} {
		if got := holder(c.inv); got != c.want {
			t.Errorf("%s: %q has the prefixes, want %q", name, got, c.want)
		}
	}
}
