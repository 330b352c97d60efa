package controller_test

import (
	"net/http"
	"net/netip"
	"slices"
	"testing"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestSites makes, changes and removes sites by the API.
func TestSites(t *testing.T) {
	s := newSite(t)
	s.join("gw1")
	s.join("gw2")
	refuses := func(code, method, path string, in any) {
		t.Helper()
		if f := s.admin(method, path, in, nil); f == nil || f.Status >= 500 || f.Code != code && !slices.ContainsFunc(f.Problems,
			func(p peers.Problem) bool { return p.Code == code }) {
			t.Errorf("%s %s %+v: %+v, want %s", method, path, in, f, code)
		}
	}
	network := func(p string) wire.SiteNetwork { return wire.SiteNetwork{Prefix: netip.MustParsePrefix(p)} }
	order := wire.SiteOrder{
		Name: "shop", Prefixes: []wire.SiteNetwork{network("10.20.0.0/24")}, Gateways: []string{"gw1", "gw2"}, DryRun: true,
	}
	var r wire.SiteResult
	s.must(http.MethodPost, wire.PathSites, order, &r)
	if r.Applied || len(r.Site.Prefixes) != 1 || len(r.Flows) == 0 || len(s.c.Inventory().Sites["shop"].Prefixes) != 0 {
		t.Fatalf("a dry run: %+v", r)
	}
	order.DryRun = false
	s.must(http.MethodPost, wire.PathSites, order, &r)
	if !r.Applied || r.Revision != s.c.Inventory().Revision || !slices.Equal(r.Site.Gateways, order.Gateways) {
		t.Fatalf("an order: %+v", r)
	}
	refuses("site-exists", http.MethodPost, wire.PathSites, order)

	aliased := network("192.168.1.0/24")
	aliased.As = netip.MustParsePrefix("10.61.1.0/24")
	s.must(http.MethodPatch, wire.PathSites+"/shop", wire.SiteOrder{Prefixes: []wire.SiteNetwork{aliased}}, &r)
	if len(r.Site.Prefixes) != 2 || r.Site.Prefixes[1] != aliased || len(r.Site.Gateways) != 2 {
		t.Fatalf("a network more: %+v", r.Site)
	}
	aliased.SNAT = true
	s.must(http.MethodPatch, wire.PathSites+"/shop", wire.SiteOrder{
		Prefixes: []wire.SiteNetwork{aliased}, Remove: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/24")}, Gateways: []string{"gw2"},
	}, &r)
	if !slices.Equal(r.Site.Prefixes, []wire.SiteNetwork{aliased}) || !slices.Equal(r.Site.Gateways, []string{"gw2"}) {
		t.Fatalf("another way: %+v", r.Site)
	}
	six := netip.MustParseAddr("fd20::1")
	refuses("virtual-ip", http.MethodPatch, wire.PathSites+"/shop", wire.SiteOrder{Virtual6: six})
	s.must(http.MethodPatch, wire.PathSites+"/shop", wire.SiteOrder{
		Prefixes: []wire.SiteNetwork{network("fd20::/64")}, Virtual6: six, Virtual: netip.MustParseAddr("192.168.1.1"),
	}, &r)
	if r.Site.Virtual6 != six || !r.Site.Virtual.IsValid() {
		t.Fatalf("virtual addresses: %+v", r.Site)
	}
	r = wire.SiteResult{}
	s.must(http.MethodPatch, wire.PathSites+"/shop", wire.SiteOrder{
		Remove: []netip.Prefix{netip.MustParsePrefix("fd20::/64")}, NoVirt: true,
	}, &r)
	if r.Site.Virtual6.IsValid() || r.Site.Virtual.IsValid() {
		t.Fatalf("no virtual addresses: %+v", r.Site)
	}
	check := []netip.Addr{netip.MustParseAddr("192.168.1.9")}
	s.must(http.MethodPatch, wire.PathSites+"/shop", wire.SiteOrder{LANCheck: check}, &r)
	s.must(http.MethodPatch, wire.PathSites+"/shop", wire.SiteOrder{Why: "nothing"}, &r)
	if !slices.Equal(r.Site.LANCheck, check) || !slices.Equal(r.Site.Gateways, []string{"gw2"}) {
		t.Fatalf("an address to be asked: %+v", r.Site)
	}
	refuses("lan-check", http.MethodPatch, wire.PathSites+"/shop", wire.SiteOrder{LANCheck: []netip.Addr{netip.MustParseAddr("10.61.1.9")}})
	refuses("lan-check", http.MethodPatch, wire.PathSites+"/shop", wire.SiteOrder{Gateways: []string{}})
	s.must(http.MethodPatch, wire.PathSites+"/shop", wire.SiteOrder{LANCheck: []netip.Addr{}}, &r)
	if r.Site.LANCheck == nil || len(r.Site.LANCheck) != 0 {
		t.Fatalf("no such address any more: %+v", r.Site)
	}
	s.must(http.MethodPatch, wire.PathSites+"/shop", wire.SiteOrder{Gateways: []string{}}, &r)
	if len(r.Site.Gateways) != 0 || len(r.Warnings) != 1 || r.Warnings[0].Code != "site-no-gateway" {
		t.Fatalf("no gateways: %+v", r)
	}
	refuses("prefix-unknown", http.MethodPatch, wire.PathSites+"/shop",
		wire.SiteOrder{Remove: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/24")}})
	// The only address of the controller, at which this test reaches it.
	refuses("controller-inside", http.MethodPatch, wire.PathSites+"/shop",
		wire.SiteOrder{Prefixes: []wire.SiteNetwork{network("127.0.0.0/24")}})
	refuses("site-unknown", http.MethodPatch, wire.PathSites+"/attic", wire.SiteOrder{Gateways: []string{}})
	refuses("site-used", http.MethodDelete, wire.PathSites+"/shop", nil)

	s.must(http.MethodPost, wire.PathSites, wire.SiteOrder{Name: "attic"}, &r)
	var gone wire.SiteRemoval
	s.must(http.MethodDelete, wire.PathSites+"/attic?dry_run=true", nil, &gone)
	if gone.Applied || gone.Removed != "attic" || s.c.Inventory().Sites["attic"] == nil {
		t.Fatalf("a dry run of removing: %+v", gone)
	}
	refuses("site-used", http.MethodDelete, wire.PathSites+"/shop?dry_run=true", nil)
	refuses("within-invalid", http.MethodDelete, wire.PathSites+"/attic?within=1", nil)
	s.must(http.MethodDelete, wire.PathSites+"/attic?within=60", nil, &gone)
	if !gone.Applied || gone.Pending == nil || !slices.Equal(gone.Pending.Objects, []string{"site/attic"}) {
		t.Fatalf("removed for a try: %+v", gone)
	}
	refuses("pending", http.MethodPost, wire.PathSites, wire.SiteOrder{Name: "cellar"})
	s.must(http.MethodPost, wire.PathPending+"/"+wire.PendingRevert, nil, nil)
	if s.c.Inventory().Sites["attic"] == nil {
		t.Fatal("the site is not given back")
	}
	var m wire.MeshView
	mtu := 1380
	s.must(http.MethodPatch, wire.PathMesh, wire.MeshSettings{MTU: &mtu, Within: 60, Why: "a try"}, &m)
	if m.MTU != mtu || m.Pending == nil || m.Pending.By == "" || m.Pending.Left <= 0 {
		t.Fatalf("settings for a try: %+v", m)
	}
	s.must(http.MethodPost, wire.PathPending+"/"+wire.PendingRevert, nil, &m)
	if m.MTU == mtu || m.Pending != nil {
		t.Fatalf("settings taken back: %+v", m)
	}
	s.must(http.MethodDelete, wire.PathSites+"/attic", nil, nil)
	refuses("site-unknown", http.MethodDelete, wire.PathSites+"/attic", nil)
	var all []wire.SiteView
	s.must(http.MethodGet, wire.PathSites, nil, &all)
	if len(all) != 1 || !slices.Equal(all[0].Hosts, []string{"gw1", "gw2"}) {
		t.Fatalf("sites are %+v", all)
	}
}
