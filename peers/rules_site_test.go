package peers_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
)

func TestSetSite(t *testing.T) {
	inv := after(t, threeSites(t), createToken("good", "shop"), enroll("good", "till"),
		peers.SetSite{Name: "warehouse", Prefixes: networks("10.20.0.0/16", "fd20::/48")})
	with := func(s ...string) peers.Op { return peers.SetSite{Name: "shop", Prefixes: networks(s...)} }
	gateways := func(names ...string) peers.Op { return peers.SetSite{Name: "shop", Gateways: names} }
	at := func(i int) string { return fmt.Sprintf(" site/shop/prefixes/%d", i) }
	gw := func(i int) string { return fmt.Sprintf(" site/shop/gateways/%d", i) }
	checkRules(t, inv, []rule{
		{"new", peers.SetSite{Name: "harbour"}, nil},
		{"prefixes", with("10.10.0.0/24", "10.10.1.0/24", "2001:db8::/32"), nil},
		{"gateways", gateways("till", "shop"), nil},
		{"its own again", peers.SetSite{Name: "warehouse", Prefixes: networks("10.20.0.0/24")}, nil},
		{"name", peers.SetSite{Name: "a_b"}, []string{"name-invalid site/a_b"}},
		{"none", peers.SetSite{Name: "shop", Prefixes: make([]peers.SitePrefix, 1)}, []string{"prefix-invalid" + at(0)}},
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
		{"an alias", with("192.168.1.0/24 as 10.61.1.0/24", "10.10.0.0/24 snat"), nil},
		{"the same network with an alias, the other one without", with("10.20.0.0/16 as 10.61.0.0/16"), []string{"site-overlap" + at(0)}},
		{"the alias is another size", with("192.168.1.0/24 as 10.61.0.0/16"), []string{"alias-size" + at(0)}},
		{"the alias is another family", with("192.168.1.0/24 as fd61::/24"), []string{"alias-size" + at(0)}},
		{"the alias is itself", with("192.168.1.0/24 as 192.168.1.0/24"), []string{"alias-overlap" + at(0)}},
		{"the alias has host bits", with("192.168.1.0/24 as 10.61.1.1/24"), []string{"prefix-invalid" + at(0)}},
		{"the alias is in the overlay", with("192.168.1.0/24 as 10.90.1.0/24"), []string{"overlay-overlap" + at(0)}},
		{"the alias is another site's", with("192.168.1.0/24 as 10.20.1.0/24"), []string{"site-overlap" + at(0)}},
		{"the alias is a network of the same site", with("10.61.1.0/24", "192.168.1.0/24 as 10.61.1.0/24"), []string{"site-overlap" + at(1)}},
		{"twice with two aliases", with("192.168.1.0/24 as 10.61.1.0/24", "192.168.1.0/24 as 10.61.2.0/24"), []string{"site-overlap" + at(1)}},
		{"hosts of other sites live there", with("198.18.0.0/15"), []string{"host-inside" + at(0), "host-inside" + at(0)}},
		{"they live in the network behind an alias", with("198.18.0.0/15 as 10.62.0.0/15"), nil},
		{"unknown gateway", gateways("shop", "x"), []string{"host-unknown" + gw(1)}},
		{"gateway elsewhere", gateways("warehouse"), []string{"gateway-site" + gw(0)}},
		{"gateway twice", gateways("shop", "till", "shop"), []string{"gateway-twice" + gw(2)}},
		{"all at once", peers.SetSite{
			Name: "Shop", Prefixes: networks("10.20.0.1/16", "10.20.0.0/16"), Gateways: []string{"x", "shop"},
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

// TestAliases: two sites with the same network get along where each has an alias for it.
func TestAliases(t *testing.T) {
	set := func(site string, s ...string) peers.Op { return peers.SetSite{Name: site, Prefixes: networks(s...)} }
	inv := after(t, threeSites(t), set("warehouse", "192.168.1.0/24 as 10.61.1.0/24"))
	checkRules(t, inv, []rule{
		{"its own alias", set("shop", "192.168.1.0/24 as 10.61.2.0/24"), nil},
		{"a part of it", set("shop", "192.168.1.128/25 as 10.61.2.0/25"), nil},
		{"the same alias", set("shop", "192.168.1.0/24 as 10.61.1.0/24"), []string{"site-overlap site/shop/prefixes/0"}},
		{"none", set("shop", "192.168.1.0/24"), []string{"site-overlap site/shop/prefixes/0"}},
		{"a network that is the other one's alias", set("shop", "10.61.1.0/25 as 10.62.1.0/25"), []string{"site-overlap site/shop/prefixes/0"}},
		{"an alias that is the other one's network", set("shop", "10.62.1.0/24 as 192.168.1.0/24"), []string{"site-overlap site/shop/prefixes/0"}},
	})
}

// TestGateways: the networks of a site are behind the gateway that acts, or else behind the first that others know.
func TestGateways(t *testing.T) {
	inv := after(t, threeSites(t), createToken("good", "shop"), enroll("good", "till"), peers.SetSite{
		Name: "shop", Prefixes: networks("10.10.0.0/24", "2001:db8::/48"), Gateways: []string{"shop", "till"},
	})
	holder := func(p peers.Plan) (holder string) {
		for id, behind := range p.Behind() {
			if !slices.Equal(behind, prefixes("10.10.0.0/24", "2001:db8::/48")) {
				t.Errorf("%v is behind %s", behind, id)
			}
			i := slices.IndexFunc(p.Peers, func(peer peers.Peer) bool { return peer.ID == id })
			holder += p.Peers[i].Name
		}
		return holder
	}
	suspended := after(t, inv, peers.SetHostState{ID: idOf("shop"), State: peers.HostSuspended})
	none := after(t, suspended, peers.SetHostState{ID: idOf("till"), State: peers.HostRevoked})
	rotated := after(t, inv, peers.StartGeneration{Number: 2}, peers.UpdateHost{ID: idOf("warehouse"), Keys: keysOf("warehouse", 2)},
		peers.UpdateHost{ID: idOf("till"), Keys: keysOf("till", 2)}, peers.RetireGeneration{Number: 1})
	for name, c := range map[string]struct {
		inv          *peers.Inventory
		acting, want string
	}{
		"first": {inv, "", "shop"}, "second": {suspended, "", "till"}, "none": {none, "", ""},
		"first has no key in use": {rotated, "", "till"}, "the second acts": {inv, "till", "till"},
		"one acts that is away": {suspended, "shop", "till"}, "one acts that is no gateway": {inv, "accounting", "shop"},
	} {
		p := planOf(t, c.inv, "warehouse")
		if c.acting != "" {
			p.Acting = map[string]peers.HostID{"shop": idOf(c.acting)}
		}
		if got := holder(p); got != c.want {
			t.Errorf("%s: %q has the networks, want %q", name, got, c.want)
		}
	}
	odd := planOf(t, inv, "warehouse")
	odd.Sites = append(slices.Clone(odd.Sites), peers.PlanSite{
		Name: "trap", Gateways: []peers.HostID{idOf("accounting")}, Prefixes: append(prefixes("0.0.0.0/0", "10.10.0.0/24"), netip.Prefix{}),
	})
	if got := odd.Behind()[idOf("accounting")]; len(got) != 0 {
		t.Errorf("a site that claims everything gets %v", got)
	}
	for _, name := range []string{"shop", "till"} {
		p := planOf(t, inv, name)
		if len(p.Behind()) != 0 || !slices.Equal(p.Forwards(), networks("10.10.0.0/24", "2001:db8::/48")) {
			t.Errorf("%s has its own site behind %v and forwards for %v", name, p.Behind(), p.Forwards())
		}
	}
}

func TestSitePrefixText(t *testing.T) {
	for _, text := range []string{"10.20.0.0/24", "fd20::/64 snat", "192.168.1.0/24 as 10.61.1.0/24", "192.168.1.0/24 as 10.61.1.0/24 snat"} {
		if p, err := peers.ParseSitePrefix(text); err != nil || p.String() != text {
			t.Errorf("%s came back as %v, %v", text, p, err)
		}
	}
	for _, text := range []string{
		"", "as", "10.20.0.0", "10.20.0.0/33", "10.20.0.0/24 as", "10.20.0.0/24 as x", "10.20.0.0/24 nat", "10.20.0.0/24 snat as 10.61.1.0/24",
		"10.20.0.0/24 snat snat", "10.20.0.0/24 as 10.61.0.0/24 as 10.62.0.0/24",
	} {
		if p, err := peers.ParseSitePrefix(text); err == nil {
			t.Errorf("%q was taken for %v", text, p)
		}
	}
}

// TestEndpointsBehindTunnels: an endpoint in a network that is reached through a tunnel is not tried while there is
// another one: what is sent there goes into the tunnel that it is to make.
func TestEndpointsBehindTunnels(t *testing.T) {
	inv := after(t, threeSites(t), peers.UpdateHost{ID: idOf("warehouse"), Endpoints: []peers.Endpoint{
		observed("10.20.0.2:51820"), {Kind: peers.EndpointLocal, Address: netip.MustParseAddrPort("198.51.100.7:51820")},
	}}, peers.SetSite{Name: "warehouse", Prefixes: networks("10.20.0.0/24"), Gateways: []string{"warehouse"}})
	first := func(host string) netip.AddrPort {
		for _, step := range peers.Diff(peers.State{IPv6: true}, planOf(t, inv, host)) {
			if s, ok := step.(peers.SetPeer); ok && s.Host == "warehouse" {
				return s.Endpoint
			}
		}
		return netip.AddrPort{}
	}
	if got := first("shop"); got != netip.MustParseAddrPort("198.51.100.7:51821") {
		t.Errorf("shop tries %v first", got)
	}
	inv = after(t, inv, createToken("good", "warehouse"), enroll("good", "lager"))
	if got := first("lager"); got != netip.MustParseAddrPort("10.20.0.2:51821") {
		t.Errorf("lager, which is in the same network, tries %v first", got)
	}
}
