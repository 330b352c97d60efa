package peers_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

func TestEnroll(t *testing.T) {
	once, named, expired := createToken("once", "shop"), createToken("named", "shop"), createToken("expired", "shop")
	once.Uses, named.Uses, named.Name, expired.Expires = 1, 1, "till", epoch.Add(time.Second)
	inv := after(t, threeSites(t), once, enroll("once", "lager"), named, createToken("revoked", "shop"),
		peers.RevokeToken{ID: "revoked"}, createToken("good", "shop"),
		peers.AddAdmin{Name: "anna", Identity: identityOf("anna").Identity()},
		enroll("good", "thief"), peers.SetHostState{ID: idOf("thief"), State: peers.HostRevoked},
		enroll("good", "sold"), peers.SetHostState{ID: idOf("sold"), State: peers.HostRevoked},
		peers.RemoveHost{ID: idOf("sold")})
	with := func(edit func(*peers.EnrollHost)) peers.Op {
		op := enroll("good", "till")
		edit(&op)
		return op
	}
	token := func(id, name string) peers.Op { return enroll(id, name) }
	as := func(who string) peers.Op {
		return with(func(op *peers.EnrollHost) {
			op.Identity, op.Keys = identityOf(who).Identity(), keysOf(who, 1)
			op.Keys[0] = peers.SignKey(meshID, identityOf(who), 1, privateOf("till", 1).Public())
		})
	}
	checkRules(t, inv, []rule{
		{"valid", token("good", "till"), nil},
		{"with the name of the token", token("named", "till"), nil},
		{"with another name", token("named", "tilt"), []string{"token-name token/named"}},
		{"unknown token", token("nope", "till"), []string{"token-unknown token/nope"}},
		{"used up", token("once", "till"), []string{"token-used-up token/once"}},
		{"revoked token", token("revoked", "till"), []string{"token-revoked token/revoked"}},
		{"name", with(func(op *peers.EnrollHost) { op.Name = "a.b" }), []string{"name-invalid host/a.b"}},
		{"taken name", with(func(op *peers.EnrollHost) { op.Name = "shop" }), []string{"name-taken host/shop"}},
		{
			"no identity", with(func(op *peers.EnrollHost) { op.Identity = key.Identity{} }),
			[]string{"identity-missing host/till", "key-signature host/till/keys"},
		},
		{"enrolled already", as("shop"), []string{"identity-enrolled host/till"}},
		{"revoked", as("thief"), []string{"identity-enrolled host/till"}},
		{"revoked and removed", as("sold"), []string{"identity-revoked host/till"}},
		{"an admin's identity", as("anna"), []string{"identity-taken host/till"}},
		{"no keys", with(func(op *peers.EnrollHost) { op.Keys = nil }), []string{"key-missing host/till"}},
		{"all at once", peers.EnrollHost{Name: "Shop", Port: 65535}, []string{
			"name-invalid host/Shop", "identity-missing host/Shop", "token-unknown token/", "key-missing host/Shop",
			"port-invalid host/Shop/port",
		}},
	})
	late := change(token("expired", "till"))
	late.At = epoch.Add(time.Second)
	checkProblems(t, after(t, inv, expired), late, []string{"token-expired token/expired"})
}

func TestEnrolled(t *testing.T) {
	approve := createToken("approve", "shop")
	approve.Approve = true
	inv := after(t, threeSites(t), approve)
	inv = after(t, inv, enroll("approve", "till"))
	h, ok := inv.HostNamed("till")
	if !ok {
		t.Fatal("there is no till")
	}
	want := peers.Host{
		ID: idOf("till"), Name: "till", Site: "shop", Identity: identityOf("till").Identity(), State: peers.HostPending,
		Address: netip.MustParseAddr("10.90.0.4"), Address6: netip.MustParseAddr("fd00:90::4"), Enrolled: epoch,
		Joined: inv.Revision, Token: "approve", Port: 51820, Endpoints: enroll("", "till").Endpoints, Keys: keysOf("till", 1),
	}
	if fmt.Sprintf("%+v", *h) != fmt.Sprintf("%+v", want) {
		t.Errorf("till is\n%+v, want\n%+v", *h, want)
	}
	if used := inv.Tokens["approve"].Used; used != 1 {
		t.Errorf("the token was used %d times", used)
	}
	if _, err := inv.Plan(h.ID); err != peers.ErrNoPlan {
		t.Errorf("a pending host has a plan: %v", err)
	}
}

func TestHostKeys(t *testing.T) {
	inv := after(t, threeSites(t), createToken("good", "shop"), peers.StartGeneration{Number: 2})
	foreign := peers.SignKey("another mesh", identityOf("till"), 2, privateOf("till", 2).Public())
	forged := peers.SignKey(meshID, identityOf("eve"), 2, privateOf("till", 2).Public())
	signed := func(g peers.Generation, k key.Private) peers.HostKey {
		return peers.SignKey(meshID, identityOf("till"), g, k.Public())
	}
	with := func(keys ...peers.HostKey) peers.Op {
		op := enroll("good", "till")
		op.Keys = keys
		return op
	}
	const at = " host/till/keys"
	checkRules(t, inv, []rule{
		{"both", with(keysOf("till", 1, 2)...), nil},
		{"the newer", with(keysOf("till", 2)...), nil},
		{"the older only", with(keysOf("till", 1)...), []string{"key-missing host/till"}},
		{"one not in use", with(keysOf("till", 2, 3)...), []string{"key-generation" + at}},
		{"for another mesh", with(foreign), []string{"key-signature" + at}},
		{"by another", with(forged), []string{"key-signature" + at}},
		{"none at all", with(peers.HostKey{Generation: 2}), []string{"key-signature" + at}},
		{"none, signed", with(peers.SignKey(meshID, identityOf("till"), 2, key.Public{})), []string{"key-signature" + at}},
		{"two of one", with(keyOf("till", 2), signed(2, privateOf("x", 2))), []string{"key-twice" + at}},
		{"one for two", with(keyOf("till", 1), signed(2, privateOf("till", 1))), []string{"key-reused" + at}},
		{"of another host", with(signed(2, privateOf("shop", 1))), []string{"key-taken" + at}},
		{
			"all at once", with(peers.HostKey{Generation: 7, Public: privateOf("shop", 1).Public()}),
			[]string{"key-generation" + at, "key-signature" + at, "key-taken" + at, "key-missing host/till"},
		},
	})
}

func TestReach(t *testing.T) {
	inv := after(t, threeSites(t), createToken("good", "shop"))
	with := func(port uint16, endpoints ...peers.Endpoint) peers.Op {
		op := enroll("good", "till")
		op.Port, op.Endpoints = port, endpoints
		return op
	}
	at := func(s string) peers.Op { return with(51820, observed(s)) }
	bad := []string{"endpoint-invalid host/till/endpoints/0"}
	many := slices.Repeat([]peers.Endpoint{observed("198.51.100.1:51820")}, 17)
	checkRules(t, inv, []rule{
		{"nowhere", with(1), nil},
		{"sixteen", with(65534, many[:16]...), nil},
		{"seventeen", with(51820, many...), []string{"endpoint-invalid host/till/endpoints"}},
		{"port 0", with(0), []string{"port-invalid host/till/port"}},
		{"last port", with(65535), []string{"port-invalid host/till/port"}},
		{"IPv6", at("[2001:db8::1]:51820"), nil},
		{"private", at("192.168.1.1:51820"), nil},
		{"no address", with(51820, peers.Endpoint{Kind: peers.EndpointLocal}), bad},
		{"zone", at("[fe80::1%eth0]:51820"), bad},
		{"mapped", at("[::ffff:198.51.100.1]:51820"), bad},
		{"endpoint port 0", at("198.51.100.1:0"), bad},
		{"endpoint last port", at("198.51.100.1:65535"), bad},
		{"loopback", at("127.0.0.1:51820"), bad},
		{"unspecified", at("[::]:51820"), bad},
		{"multicast", at("224.0.0.1:51820"), bad},
		{"link-local", at("169.254.0.1:51820"), bad},
		{"broadcast", at("255.255.255.255:51820"), bad},
		{"overlay", at("10.90.0.7:51820"), bad},
		{"overlay IPv6", at("[fd00:90::7]:51820"), bad},
		{"kind", with(51820, peers.Endpoint{Kind: "guess", Address: netip.MustParseAddrPort("198.51.100.1:1")}), bad},
		{"all at once", with(0, observed("198.51.100.1:1"), observed("127.0.0.1:1"), observed("[::1]:1")), []string{
			"port-invalid host/till/port", "endpoint-invalid host/till/endpoints/1", "endpoint-invalid host/till/endpoints/2",
		}},
	})
}

func TestUpdateHost(t *testing.T) {
	inv := after(t, threeSites(t), peers.StartGeneration{Number: 2})
	revoked := after(t, inv, peers.SetHostState{ID: idOf("shop"), State: peers.HostRevoked})
	port, zero := uint16(4000), uint16(0)
	id := idOf("shop")
	checkRules(t, inv, []rule{
		{"nothing", peers.UpdateHost{ID: id}, nil},
		{"all", peers.UpdateHost{ID: id, Port: &port, Endpoints: []peers.Endpoint{}, Keys: keysOf("shop", 2)}, nil},
		{"unknown", peers.UpdateHost{ID: "x"}, []string{"host-unknown host/x"}},
		{"all at once", peers.UpdateHost{
			ID: id, Port: &zero, Endpoints: []peers.Endpoint{observed("[::1]:1")}, Keys: keysOf("warehouse", 1),
		}, []string{
			"port-invalid host/shop/port", "endpoint-invalid host/shop/endpoints/0", "key-signature host/shop/keys",
			"key-taken host/shop/keys",
		}},
	})
	checkRules(t, revoked, []rule{{"revoked", peers.UpdateHost{ID: id}, []string{"identity-revoked host/shop"}}})

	next := after(t, inv, peers.UpdateHost{ID: id, Port: &port, Endpoints: []peers.Endpoint{}, Keys: keysOf("shop", 2)})
	h := next.Hosts[id]
	if h.Port != 4000 || len(h.Endpoints) != 0 || len(h.Keys) != 2 || h.Keys[1].Generation != 2 {
		t.Errorf("after the update: %+v", h)
	}
	next = after(t, next, peers.RetireGeneration{Number: 1}, peers.UpdateHost{ID: id, Keys: []peers.HostKey{}})
	if keys := next.Hosts[id].Keys; len(keys) != 1 || keys[0].Generation != 2 {
		t.Errorf("keys of a generation that is gone stay: %+v", keys)
	}
}

func TestHostStates(t *testing.T) {
	approve := createToken("approve", "shop")
	approve.Approve = true
	base := after(t, threeSites(t), approve, enroll("approve", "till"))
	id := idOf("till")
	set := func(s peers.HostState) peers.Op { return peers.SetHostState{ID: id, State: s} }
	const at = " host/till"
	states := map[peers.HostState]*peers.Inventory{peers.HostPending: base}
	states[peers.HostActive] = after(t, base, set(peers.HostActive))
	states[peers.HostSuspended] = after(t, states[peers.HostActive], set(peers.HostSuspended))
	states[peers.HostRevoked] = after(t, base, set(peers.HostRevoked))
	for from, want := range map[peers.HostState][]string{ // to active, suspended, revoked, pending, nonsense
		peers.HostPending:   {"", "state-order" + at, "", "state-same" + at, "state-invalid" + at},
		peers.HostActive:    {"state-same" + at, "", "", "state-invalid" + at, "state-invalid" + at},
		peers.HostSuspended: {"", "state-same" + at, "", "state-invalid" + at, "state-invalid" + at},
		peers.HostRevoked: {
			"state-revoked" + at, "state-revoked" + at, "state-same" + at, "state-revoked" + at, "state-revoked" + at,
		},
	} {
		to := []peers.HostState{peers.HostActive, peers.HostSuspended, peers.HostRevoked, peers.HostPending, "asleep"}
		for i, w := range want {
			t.Run(fmt.Sprintf("%s to %s", from, to[i]), func(t *testing.T) {
				var problems []string
				if w != "" {
					problems = []string{w}
				}
				checkProblems(t, states[from], change(set(to[i])), problems)
			})
		}
	}
	checkProblems(t, base, change(peers.SetHostState{ID: "x", State: peers.HostActive}), []string{"host-unknown host/x"})
}

func TestRemoveHost(t *testing.T) {
	inv := after(t, threeSites(t), createToken("good", "shop"), enroll("good", "till"),
		peers.SetSite{Name: "shop", Gateways: []string{"till", "shop"}})
	checkRules(t, inv, []rule{
		{"valid", peers.RemoveHost{ID: idOf("warehouse")}, nil},
		{"unknown", peers.RemoveHost{ID: "x"}, []string{"host-unknown host/x"}},
		{"gateway", peers.RemoveHost{ID: idOf("shop")}, []string{"host-used host/shop"}},
	})
	gone := after(t, inv, peers.RemoveHost{ID: idOf("warehouse")})
	if len(gone.Buried) != 0 {
		t.Error("a host that was not revoked is buried")
	}
	again := after(t, gone, enroll("t-warehouse", "warehouse"))
	if was, is := inv.Hosts[idOf("warehouse")].Address, again.Hosts[idOf("warehouse")].Address; was == is {
		t.Errorf("%v is given away again at once", is)
	}
	revoked := after(t, inv, peers.SetHostState{ID: idOf("warehouse"), State: peers.HostRevoked},
		peers.RemoveHost{ID: idOf("warehouse")})
	if b := revoked.Buried[idOf("warehouse")]; b == nil || b.Name != "warehouse" || !b.Buried.Equal(epoch) {
		t.Errorf("tombstone: %+v", b)
	}
}

// TestAddresses fills a small overlay: every address is used once, and none that means something else.
func TestAddresses(t *testing.T) {
	small := createMesh()
	small.Overlay, small.Overlay6 = netip.MustParsePrefix("10.90.0.16/28"), netip.MustParsePrefix("fd00:90::fff0/112")
	small.Overlay6 = small.Overlay6.Masked()
	inv := after(t, &peers.Inventory{}, small, createToken("t1", "shop"))
	seen := map[netip.Addr]bool{}
	for i := range 14 {
		inv = after(t, inv, enroll("t1", fmt.Sprint("h", i)))
		h := inv.Hosts[idOf(fmt.Sprint("h", i))]
		if seen[h.Address] || seen[h.Address6] || !small.Overlay.Contains(h.Address) || !small.Overlay6.Contains(h.Address6) {
			t.Errorf("h%d has %v and %v", i, h.Address, h.Address6)
		}
		seen[h.Address], seen[h.Address6] = true, true
	}
	if seen[netip.MustParseAddr("10.90.0.16")] || seen[netip.MustParseAddr("10.90.0.31")] {
		t.Error("a host has the address of the network or of all")
	}
	checkProblems(t, inv, change(enroll("t1", "h14")), []string{"overlay-full mesh/overlay"})
	inv = after(t, inv, peers.RemoveHost{ID: idOf("h5")}, enroll("t1", "h14"))
	if a := inv.Hosts[idOf("h14")].Address; a != netip.MustParseAddr("10.90.0.22") {
		t.Errorf("h14 has %v, want the one that h5 had", a)
	}
}

// TestLastAddresses goes to the end of the largest overlay, where all four bytes carry.
func TestLastAddresses(t *testing.T) {
	large := createMesh()
	large.Overlay, large.Overlay6 = netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00:90::ff00:0/104").Masked()
	inv := after(t, &peers.Inventory{}, large, createToken("t1", "shop"))
	inv.Mesh.NextIndex = 1<<24 - 2 // as if all before had been given away
	inv = after(t, inv, enroll("t1", "last"), enroll("t1", "first"))
	last, first := inv.Hosts[idOf("last")], inv.Hosts[idOf("first")]
	if last.Address.String() != "10.255.255.254" || first.Address.String() != "10.0.0.1" {
		t.Errorf("last %v, first %v", last.Address, first.Address)
	}
	if !large.Overlay6.Contains(last.Address6) || first.Address6 == last.Address6 {
		t.Errorf("IPv6: last %v, first %v", last.Address6, first.Address6)
	}
}
