package peers_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// applied is a kernel that has what a plan says.
func applied(t testing.TB, p peers.Plan) *kernel {
	t.Helper()
	k := newKernel()
	for _, step := range peers.Diff(k.state(), p) {
		if err := k.apply(step); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

func lines(steps []peers.Step) string {
	out := make([]string, len(steps))
	for i, s := range steps {
		out[i] = shortKeys(s.String())
	}
	return strings.Join(out, "\n")
}

// TestDiffKeepsSecrets: what a plan lacks is not wiped.
func TestDiffKeepsSecrets(t *testing.T) {
	inv := threeSites(t)
	p := planOf(t, inv, "shop")
	k := applied(t, p)
	p.Private, p.PSKs = nil, nil
	if steps := peers.Diff(k.state(), p); len(steps) > 0 {
		t.Errorf("without secrets:\n%s", lines(steps))
	}
	got := lines(peers.Diff(peers.State{IPv6: true, Guard: peers.Table{Fault: "none"}}, p))
	want := "route replace unreachable 10.90.0.0/16 proto 119\nroute replace unreachable fd00:90::/64 proto 119"
	if got != want {
		t.Errorf("from nothing and without secrets:\n%s\nwant\n%s", got, want)
	}
}

// TestDiffNextKey: an interface without its key yet does not draw traffic away from the one that works.
func TestDiffNextKey(t *testing.T) {
	inv := threeSites(t)
	k := applied(t, planOf(t, inv, "shop"))
	inv = after(t, inv, peers.StartGeneration{Number: 2}, peers.UpdateHost{ID: idOf("shop"), Keys: keysOf("shop", 2)},
		peers.UpdateHost{ID: idOf("warehouse"), Keys: keysOf("warehouse", 2)})
	p := planOf(t, inv, "shop")
	delete(p.Private, 2)
	if steps := peers.Diff(k.state(), p); len(steps) > 0 {
		t.Errorf("without the key of generation 2:\n%s", lines(steps))
	}
}

func TestDiffEndpointFamily(t *testing.T) {
	four, six := observed("198.51.100.1:51820"), observed("[2001:db8::1]:51820")
	for name, c := range map[string]struct {
		ipv6      bool
		endpoints []peers.Endpoint
		want      string
	}{
		"IPv6 first":          {true, []peers.Endpoint{six, four}, "[2001:db8::1]:51821"},
		"no IPv6":             {false, []peers.Endpoint{six, four}, "198.51.100.1:51821"},
		"no IPv6, only IPv6":  {false, []peers.Endpoint{six}, "[2001:db8::1]:51821"},
		"no IPv6, IPv4 first": {false, []peers.Endpoint{four, six}, "198.51.100.1:51821"},
		"none":                {true, []peers.Endpoint{}, "invalid AddrPort"},
	} {
		inv := after(t, threeSites(t), peers.UpdateHost{ID: idOf("warehouse"), Endpoints: c.endpoints})
		k := newKernel()
		k.ipv6 = c.ipv6
		for _, step := range peers.Diff(k.state(), planOf(t, inv, "shop")) {
			if s, ok := step.(peers.SetPeer); ok && s.Host == "warehouse" && s.Endpoint.String() != c.want {
				t.Errorf("%s: %v, want %s", name, s.Endpoint, c.want)
			}
		}
	}
}

// TestDiffEndpointOrder: pinned ones first, then observed, then local ones.
func TestDiffEndpointOrder(t *testing.T) {
	local := peers.Endpoint{Kind: peers.EndpointLocal, Address: netip.MustParseAddrPort("192.168.1.1:1")}
	pinned := peers.Endpoint{Kind: peers.EndpointPinned, Address: netip.MustParseAddrPort("198.51.100.9:1")}
	all := []peers.Endpoint{local, observed("203.0.113.1:1"), pinned, observed("203.0.113.2:1")}
	inv := after(t, threeSites(t), peers.UpdateHost{ID: idOf("warehouse"), Endpoints: all})
	p, ok := inv.Peer(idOf("warehouse"))
	want := []peers.Endpoint{all[2], all[1], all[3], all[0]}
	if !ok || !slices.Equal(p.Endpoints, want) {
		t.Errorf("%v, want %v", p.Endpoints, want)
	}
	if !slices.Equal(inv.Hosts[idOf("warehouse")].Endpoints, all) {
		t.Error("the inventory has changed")
	}
}

// TestDiffRoamed: where the kernel finds a peer is the kernel's business.
func TestDiffRoamed(t *testing.T) {
	inv := threeSites(t)
	k := applied(t, planOf(t, inv, "shop"))
	for _, p := range k.links["wrn1"].peers {
		p.Endpoint = netip.MustParseAddrPort("192.0.2.99:7")
	}
	inv = after(t, inv, peers.UpdateHost{ID: idOf("warehouse"), Endpoints: []peers.Endpoint{observed("203.0.113.1:1")}})
	if steps := peers.Diff(k.state(), planOf(t, inv, "shop")); len(steps) > 0 {
		t.Errorf("endpoints are written:\n%s", lines(steps))
	}
}

// TestDiffSecondRoute: beside the right route there is another one to the same prefix.
func TestDiffSecondRoute(t *testing.T) {
	p := planOf(t, threeSites(t), "shop")
	k := applied(t, p)
	s := k.state()
	wrong := peers.Route{Prefix: prefixes("10.90.0.2/32")[0], Link: "wrn9"}
	for at := range 2 {
		s.Routes = slices.Insert(k.state().Routes, at*len(k.routes), wrong)
		if got, want := lines(peers.Diff(s, p)), "route del 10.90.0.2/32 dev wrn9 proto 119"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestBuilding: what a plan from disk must not lead to.
func TestBuilding(t *testing.T) {
	inv := threeSites(t)
	k := applied(t, planOf(t, inv, "shop"))
	k.links["wrnx"] = newKernelLink(1420)
	k.links["wrn1"].addresses[prefixes("10.99.0.1/24")[0]] = true
	k.links["wrn1"].owner[prefixes("0.0.0.0/0")[0]] = privateOf("warehouse", 1).Public()
	inv = after(t, inv, peers.RemoveHost{ID: idOf("accounting")}, createToken("good", "shop"), enroll("good", "till"))
	var kinds []string
	for _, s := range peers.Building(peers.Diff(k.state(), planOf(t, inv, "shop"))) {
		kinds = append(kinds, fmt.Sprintf("%T", s))
	}
	want := []string{"peers.SetPeer", "peers.SetRoute", "peers.SetRoute"}
	if !slices.Equal(kinds, want) {
		t.Errorf("%q, want %q", kinds, want)
	}
}

func TestStepStrings(t *testing.T) {
	psk, seconds := secretOf(1).Preshared("a", "b"), 25
	k := privateOf("shop", 1)
	pub := k.Public().String()
	overlay, host := prefixes("10.90.0.0/16")[0], prefixes("10.90.0.2/32")[0]
	for want, s := range map[string]fmt.Stringer{
		"link add wrn0 mtu 1420 type wireguard":              peers.AddLink{Name: "wrn0", MTU: 1420},
		"wg set wrn0 private-key (hidden) listen-port 51820": peers.SetDevice{Link: "wrn0", Private: k, Port: 51820},
		"link set wrn0 mtu 1280":                             peers.SetLink{Name: "wrn0", MTU: 1280},
		"link set wrn0 up":                                   peers.SetLink{Name: "wrn0", Up: true},
		"address add 10.90.0.2/32 dev wrn0":                  peers.AddAddress{Link: "wrn0", Prefix: host},
		"address del 10.90.0.2/32 dev wrn0":                  peers.DelAddress{Link: "wrn0", Prefix: host},
		"wg set wrn0 peer " + pub + " remove":                peers.DelPeer{Link: "wrn0", Key: k.Public()},
		"link del wrn0":                                      peers.DelLink{Name: "wrn0"},
		"route replace unreachable 10.90.0.0/16 proto 119":   peers.SetRoute{Route: peers.Route{Prefix: overlay}},
		"route del 10.90.0.2/32 dev wrn0 proto 119":          peers.DelRoute{Route: peers.Route{Prefix: host, Link: "wrn0"}},
		"wg set wrn0 peer " + pub + ` update-only allowed-ips "" # shop`: peers.SetPeer{
			Link: "wrn0", Host: "shop", Key: k.Public(), ReplaceAllowed: true,
		},
		"wg set wrn0 peer " + pub + " preshared-key (hidden) endpoint 198.51.100.1:1 persistent-keepalive 25 " +
			"allowed-ips +10.90.0.1/32,+10.20.0.0/24 # shop": peers.SetPeer{
			Link: "wrn0", Host: "shop", Key: k.Public(), New: true, PSK: &psk, Keepalive: &seconds,
			Endpoint: netip.MustParseAddrPort("198.51.100.1:1"), Allowed: prefixes("10.90.0.1/32", "10.20.0.0/24"),
		},
	} {
		if got := s.String(); got != want {
			t.Errorf("%T prints\n%s, want\n%s", s, got, want)
		}
	}
}

func TestConflicts(t *testing.T) {
	inv := after(t, threeSites(t), peers.SetSite{
		Name: "warehouse", Prefixes: networks("10.20.0.0/24", "2001:db8:20::/48"), Gateways: []string{"warehouse"},
	})
	p := planOf(t, inv, "shop")
	foreign := func(s ...string) (out []peers.Foreign) {
		for _, prefix := range prefixes(s...) {
			out = append(out, peers.Foreign{Prefix: prefix, Link: "eth1"})
		}
		return out
	}
	for name, c := range map[string]struct {
		foreign []peers.Foreign
		want    []string
	}{
		"none":      {nil, nil},
		"elsewhere": {foreign("192.168.0.0/24", "10.21.0.0/24"), nil},
		"equal":     {foreign("10.20.0.0/24"), []string{"prefix/10.20.0.0/24"}},
		"part":      {foreign("10.20.0.7/32"), []string{"prefix/10.20.0.0/24"}},
		"around":    {foreign("10.0.0.0/8"), []string{"overlay/10.90.0.0/16", "address/10.90.0.1", "prefix/10.20.0.0/24"}},
		"IPv6": {foreign("2001:db8::/32", "fd00::/8"), []string{
			"overlay/fd00:90::/64", "address/fd00:90::1", "prefix/2001:db8:20::/48",
		}},
		"overlay":         {foreign("10.90.5.0/24"), []string{"overlay/10.90.0.0/16"}},
		"half of default": {foreign("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"), nil},
	} {
		var got []string
		for _, problem := range peers.Conflicts(p, c.foreign) {
			got = append(got, problem.At)
			if problem.Code != "route-conflict" || problem.Hint == "" {
				t.Errorf("%s: %+v", name, problem)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestCheck: what a host must not believe even its controller.
func TestCheck(t *testing.T) {
	inv := threeSites(t)
	stolen := keysOf("shop", 1)
	for name, c := range map[string]struct {
		edit func(p *peers.Peer)
		says string
	}{
		"honest":       {func(*peers.Peer) {}, ""},
		"other id":     {func(p *peers.Peer) { p.ID = idOf("eve") }, "its id is not that of its identity"},
		"own identity": {func(p *peers.Peer) { p.Identity = identityOf("eve").Identity() }, "its id is not"},
		"swapped key":  {func(p *peers.Peer) { p.Keys = keysOf("eve", 1) }, "not signed by its identity"},
		"another's":    {func(p *peers.Peer) { p.Keys = stolen }, "not signed by its identity"},
		"other generation": {func(p *peers.Peer) {
			p.Keys = slices.Clone(p.Keys)
			p.Keys[0].Generation = 2
		}, "not signed by its identity"},
	} {
		p := planOf(t, inv, "shop")
		i := slices.IndexFunc(p.Peers, func(p peers.Peer) bool { return p.Name == "warehouse" })
		c.edit(&p.Peers[i])
		checked, problems := p.Check(peers.VerifyKey)
		kept := slices.ContainsFunc(checked.Peers, func(p peers.Peer) bool { return p.Name == "warehouse" })
		if kept != (c.says == "") || len(checked.Peers)+len(problems) != 2 {
			t.Errorf("%s: kept %v, problems %v", name, kept, problems)
		}
		if c.says != "" && (len(problems) != 1 || !strings.Contains(problems[0].Message, c.says)) {
			t.Errorf("%s: %v, want %q", name, problems, c.says)
		}
	}
}

// TestPSKs: the same for both ends, another one for each pair and generation, none without the secret.
func TestPSKs(t *testing.T) {
	inv := threeSites(t)
	shop, warehouse := planOf(t, inv, "shop"), planOf(t, inv, "warehouse")
	ab, ba := shop.PSKs[1][idOf("warehouse")], warehouse.PSKs[1][idOf("shop")]
	if ab.IsZero() || !ab.Equal(ba) || ab.Equal(shop.PSKs[1][idOf("accounting")]) {
		t.Error("pre-shared keys do not fit")
	}
	for i := range shop.Peers {
		got := peers.DerivePSKs(map[peers.Generation]key.Secret{1: secretOf(1), 2: secretOf(2)}, idOf("shop"), &shop.Peers[i])
		if len(got) != 1 || !got[1].Equal(shop.PSKs[1][shop.Peers[i].ID]) {
			t.Errorf("%s: %v", shop.Peers[i].Name, got)
		}
	}
	if p := shop.WithPSKs(map[peers.Generation]key.Secret{2: secretOf(2)}); len(p.PSKs) != 0 {
		t.Errorf("pre-shared keys of a generation that nobody has: %v", p.PSKs)
	}
}

// TestDiffBackstop: when a tunnel goes, packets for another site go nowhere, unless the operator wants no leak guard.
func TestDiffBackstop(t *testing.T) {
	lan := netip.MustParsePrefix("10.20.0.0/24")
	inv := after(t, threeSites(t), peers.SetSite{Name: "warehouse", Prefixes: networks("10.20.0.0/24"), Gateways: []string{"warehouse"}})
	p := planOf(t, inv, "shop")
	k := applied(t, p)
	if got := k.route(lan.Addr()); got != "wrn1" {
		t.Fatalf("with a tunnel packets for %v go to %q", lan, got)
	}
	if err := k.delLink("wrn1"); err != nil {
		t.Fatal(err)
	}
	k.guard = peers.Table{}
	if !k.nowhere[lan] {
		t.Errorf("without the tunnel and the table packets for %v leave by any way", lan)
	}
	p.Loose = true
	for _, step := range peers.Diff(k.state(), p) {
		if err := k.apply(step); err != nil {
			t.Fatal(err)
		}
	}
	if k.nowhere[lan] || !k.nowhere[p.Mesh.Overlay] {
		t.Errorf("without a leak guard these lead nowhere: %v", k.nowhere)
	}
}
