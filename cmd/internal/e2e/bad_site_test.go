package e2e

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
)

// TestBadSites: a network that cannot be a site's is refused when it is written, with a word about what is in the way, and
// changes nothing. One that a host of another site has itself stays that host's own.
func TestBadSites(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	admin := lab.DefaultController
	m.must(admin, "site", "add", "shop", "--prefix", "10.10.0.0/24", "--gateway", "shop")
	revision := m.revision()
	network := func(a netip.Addr, bits int) string { return netip.PrefixFrom(a, bits).Masked().String() }
	six := network(m.status("shop").Address6, 64)
	at := m.lab.Host(lab.DefaultController)
	covered := []string{"--prefix", network(at.IPv4(), 32)}
	if at.IPv6().IsValid() {
		covered = append(covered, "--prefix", network(at.IPv6(), 128))
	}
	for name, c := range map[string]struct {
		args []string
		says []string
	}{
		"no network":         {[]string{"--prefix", "10.20.0.1/24"}, []string{"10.20.0.1/24", "10.20.0.0/24"}},
		"the default route":  {[]string{"--prefix", "0.0.0.0/0"}, []string{"default"}},
		"in the overlay":     {[]string{"--prefix", "10.90.7.0/24"}, []string{"10.90.7.0/24", "10.90.0.0/16"}},
		"around the overlay": {[]string{"--prefix", "10.0.0.0/8"}, []string{"10.0.0.0/8", "10.90.0.0/16"}},
		"the overlay, IPv6":  {[]string{"--prefix", six}, []string{six}},
		"of another site":    {[]string{"--prefix", "10.10.0.128/25"}, []string{`"shop"`, `"warehouse"`, "10.10.0.0/24"}},
		"where a host is":    {[]string{"--prefix", network(m.lab.Host("shop").IPv4(), 29)}, []string{`host "shop"`}},
		"the controller's":   {covered, []string{"the controller is at", at.IPv4().String()}},
		"an alias of other size": {
			[]string{"--prefix", "192.168.1.0/24", "--as", "10.61.0.0/16"}, []string{"192.168.1.0/24", "10.61.0.0/16"},
		},
	} {
		f := m.fails(admin, append([]string{"site", "add", "warehouse", "--gateway", "warehouse"}, c.args...)...)
		for _, says := range c.says {
			if !strings.Contains(f.Message+" "+f.Hint, says) {
				t.Errorf("%s: nothing is said of %s: %+v", name, says, f)
			}
		}
	}
	if now := m.revision(); now != revision {
		t.Errorf("something of a bad site was written: revision %d, was %d", now, revision)
	}
	m.ownLAN(t)
}

// ownLAN gives a host a network that is behind another one's gateway, as no address of it was known when it was written.
func (m *mesh) ownLAN(t *testing.T) {
	t.Helper()
	shop, there, other := m.lab.Host("shop"), netip.MustParseAddr("10.20.0.9"), netip.MustParseAddr("10.21.0.9")
	m.must(lab.DefaultController, "site", "add", "warehouse", "--prefix", "10.20.0.0/24", "--prefix", "10.21.0.0/24", "--gateway", "warehouse")
	tunnelled := func(a netip.Addr) bool { return strings.HasPrefix(wayTo(t, shop, a), "wrn") }
	until(t, patience, "both are behind the tunnel", func() bool { return tunnelled(there) && tunnelled(other) })
	if err := shop.Do(func() error { return addDummy("lan0", netip.MustParsePrefix("10.20.0.77/24")) }); err != nil {
		t.Fatal(err)
	}
	until(t, yieldsWithin, "the host's own network wins", func() bool { return wayTo(t, shop, there) == "lan0" })
	if !tunnelled(other) {
		t.Error("the other network has left the tunnel")
	}
	conflict := func() bool {
		return slices.ContainsFunc(m.status("shop").Problems, func(p peers.Problem) bool {
			return p.Code == "route-conflict" && strings.Contains(p.Message, "10.20.0.0/24") && strings.Contains(p.Message+p.Hint, "lan0")
		})
	}
	until(t, patience, "it is a problem", conflict)
	if err := shop.Do(func() error { return onLink(netlink.LinkDel)("lan0") }); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "the network is behind the tunnel again", func() bool { return tunnelled(there) && !conflict() })
}
