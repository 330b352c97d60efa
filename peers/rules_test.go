package peers_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// A rule is an operation on a mesh and the problems that it must give, "code at" each, in order; none for
// an operation that is valid.
type rule struct {
	name string
	op   peers.Op
	want []string
}

// checkRules applies each operation to the inventory.
func checkRules(t *testing.T, inv *peers.Inventory, rules []rule) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.op.Kind()+"/"+r.name, func(t *testing.T) {
			checkProblems(t, inv, change(r.op), r.want)
		})
	}
}

func checkProblems(t *testing.T, inv *peers.Inventory, c peers.Change, want []string) {
	t.Helper()
	before := text(inv)
	_, err := inv.Apply(c)
	var ps peers.Problems
	if err != nil && !errors.As(err, &ps) {
		t.Fatalf("%v is a %T, want Problems", err, err)
	}
	var got []string
	for _, p := range ps {
		got = append(got, strings.TrimSpace(p.Code+" "+p.At))
		if p.Message == "" || !strings.Contains(err.Error(), p.Message) {
			t.Errorf("%s has no message that the error tells", p.Code)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems %q, want %q\n%v", got, want, err)
	}
	if text(inv) != before {
		t.Error("the inventory has changed")
	}
}

// text is an inventory as the ledger has it.
func text(inv *peers.Inventory) string {
	var b strings.Builder
	fmt.Fprintln(&b, inv.Revision, inv.Head)
	for _, o := range inv.Objects() {
		fmt.Fprintf(&b, "%s %s\n", o.Key, o.After)
	}
	return b.String()
}

func TestChangeRules(t *testing.T) {
	inv := threeSites(t)
	mtu := 1400
	good := change(peers.SetMesh{MTU: &mtu})
	for name, c := range map[string]struct {
		edit func(*peers.Change)
		want []string
	}{
		"valid":        {func(*peers.Change) {}, nil},
		"no time":      {func(c *peers.Change) { c.At = time.Time{} }, []string{"change-time"}},
		"time too old": {func(c *peers.Change) { c.At = time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC) }, []string{"change-time"}},
		"time too far": {func(c *peers.Change) { c.At = time.Date(9001, 1, 1, 0, 0, 0, 0, time.UTC) }, []string{"change-time"}},
		"nobody":       {func(c *peers.Change) { c.By = "" }, []string{"change-by"}},
		"long name":    {func(c *peers.Change) { c.By = strings.Repeat("x", 201) }, []string{"change-by"}},
		"long reason":  {func(c *peers.Change) { c.Why = strings.Repeat("x", 1001) }, []string{"change-by"}},
		"name no text": {func(c *peers.Change) { c.By = "\xff" }, []string{"change-text"}},
		"why no text":  {func(c *peers.Change) { c.Why = "\xff" }, []string{"change-text"}},
		"nothing":      {func(c *peers.Change) { c.Op = nil }, []string{"change-empty"}},
		"everything": {
			func(c *peers.Change) { *c = peers.Change{Op: peers.SetMesh{}} },
			[]string{"change-time", "change-by", "change-empty mesh"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			c.edit(&bad)
			checkProblems(t, inv, bad, c.want)
		})
	}
	checkProblems(t, &peers.Inventory{}, good, []string{"mesh-missing mesh"})
	checkProblems(t, &peers.Inventory{}, peers.Change{}, []string{"change-time", "change-by", "change-empty"})
}

func TestCreateMesh(t *testing.T) {
	with := func(edit func(*peers.CreateMesh)) peers.CreateMesh {
		op := createMesh()
		edit(&op)
		return op
	}
	overlay := func(s string) peers.Op {
		return with(func(op *peers.CreateMesh) { op.Overlay = netip.MustParsePrefix(s) })
	}
	overlay6 := func(s string) peers.Op {
		return with(func(op *peers.CreateMesh) { op.Overlay6 = netip.MustParsePrefix(s) })
	}
	const at, at6 = " mesh/overlay", " mesh/overlay6"
	checkRules(t, &peers.Inventory{}, []rule{
		{"valid", createMesh(), nil},
		{"name", with(func(op *peers.CreateMesh) { op.Name = "Orders" }), []string{"name-invalid mesh"}},
		{"no id", with(func(op *peers.CreateMesh) { op.ID = "" }), []string{"mesh-id mesh"}},
		{"id no text", with(func(op *peers.CreateMesh) { op.ID = "\xff" }), []string{"mesh-id mesh"}},
		{"long id", with(func(op *peers.CreateMesh) { op.ID = strings.Repeat("x", 65) }), []string{"mesh-id mesh"}},
		{"smallest", overlay("192.168.7.0/28"), nil},
		{"largest", with(func(op *peers.CreateMesh) {
			op.Overlay, op.Overlay6 = netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00:90::/104")
		}), nil},
		{"shared address space", overlay("100.64.0.0/10"), nil},
		{"too small", overlay("10.90.0.0/29"), []string{"overlay-invalid" + at}},
		{"too large", overlay("0.0.0.0/7"), []string{"overlay-invalid" + at}},
		{"public", overlay("11.0.0.0/16"), []string{"overlay-public" + at}},
		{"partly public", overlay("172.0.0.0/8"), []string{"overlay-public" + at}},
		{"host bits", overlay("10.90.0.1/16"), []string{"overlay-invalid" + at}},
		{"IPv6 for IPv4", overlay("fd00::/64"), []string{"overlay-invalid" + at}},
		{"IPv4 for IPv6", overlay6("10.91.0.0/16"), []string{"overlay-invalid" + at6}},
		{"mapped", overlay6("::ffff:10.0.0.0/112"), []string{"overlay-invalid" + at6}},
		{"public IPv6", overlay6("2001:db8::/64"), []string{"overlay-public" + at6}},
		{"IPv6 with fewer addresses", with(func(op *peers.CreateMesh) {
			op.Overlay, op.Overlay6 = netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00:90::/112")
		}), []string{"overlay-invalid" + at6}},
		{"all at once", peers.CreateMesh{Name: "-"}, []string{
			"name-invalid mesh", "mesh-id mesh", "overlay-invalid" + at, "overlay-invalid" + at6,
		}},
	})
	checkRules(t, threeSites(t), []rule{{"again", createMesh(), []string{"mesh-exists mesh"}}})
}

func TestSetMesh(t *testing.T) {
	set := func(mtu, keepalive int) peers.Op { return peers.SetMesh{MTU: &mtu, Keepalive: &keepalive} }
	checkRules(t, threeSites(t), []rule{
		{"lowest", set(1280, 5), nil},
		{"highest", set(9000, 120), nil},
		{"too low", set(1279, 4), []string{"mtu-invalid mesh/mtu", "keepalive-invalid mesh/keepalive"}},
		{"too high", set(9001, 121), []string{"mtu-invalid mesh/mtu", "keepalive-invalid mesh/keepalive"}},
		{"nothing", peers.SetMesh{}, []string{"change-empty mesh"}},
	})
}

func TestGenerations(t *testing.T) {
	inv := threeSites(t)
	checkRules(t, inv, []rule{
		{"next", peers.StartGeneration{Number: 2}, nil},
		{"with a grace time", peers.StartGeneration{Number: 2, Grace: 600}, nil},
		{"too short a one", peers.StartGeneration{Number: 2, Grace: 9}, []string{"grace-invalid generation/2/grace"}},
		{"none", peers.StartGeneration{Number: 2, Grace: -1}, []string{"grace-invalid generation/2/grace"}},
		{"too long a one", peers.StartGeneration{Number: 2, Grace: 90*24*3600 + 1}, []string{"grace-invalid generation/2/grace"}},
		{"same", peers.StartGeneration{Number: 1}, []string{"generation-order generation/1"}},
		{"one left out", peers.StartGeneration{Number: 3}, []string{"generation-order generation/3"}},
		{"the only one", peers.RetireGeneration{Number: 1}, []string{"generation-order generation/1"}},
	})
	checkRules(t, after(t, inv, peers.StartGeneration{Number: 2}), []rule{
		{"the older", peers.RetireGeneration{Number: 1}, nil},
		{"the older, with pairs that have not moved", peers.RetireGeneration{Number: 1, Cut: 3}, nil},
		{"fewer pairs than none", peers.RetireGeneration{Number: 1, Cut: -1}, []string{"cut-invalid generation/1"}},
		{"the newer", peers.RetireGeneration{Number: 2}, []string{"generation-order generation/2"}},
		{"a third", peers.StartGeneration{Number: 3}, []string{"rotation-running generation/3"}},
		{"a wrong third", peers.StartGeneration{Number: 7}, []string{
			"rotation-running generation/7", "generation-order generation/7",
		}},
	})
}

// TestRotationGrace: a rotation may have its own time to wait for hosts that are away. It ends with the rotation, and what is
// said of the mesh meanwhile counts more.
func TestRotationGrace(t *testing.T) {
	inv := threeSites(t)
	hour := 3600
	inv = after(t, inv, peers.SetMesh{Grace: &hour}, peers.StartGeneration{Number: 2, Grace: 60})
	if got := inv.Mesh.RotationGrace(); got != time.Minute || inv.Mesh.GraceTime() != time.Hour {
		t.Errorf("it waits %v, others %v", got, inv.Mesh.GraceTime())
	}
	if got := after(t, inv, peers.RetireGeneration{Number: 1}).Mesh.RotationGrace(); got != time.Hour {
		t.Errorf("the next one waits %v", got)
	}
	ten := 10
	if got := after(t, inv, peers.SetMesh{Grace: &ten}).Mesh.RotationGrace(); got != 10*time.Second {
		t.Errorf("when it is set anew it waits %v", got)
	}
}

func TestAdmins(t *testing.T) {
	anna := peers.AddAdmin{Name: "anna", Identity: identityOf("anna").Identity()}
	inv := after(t, threeSites(t), anna,
		peers.SetHostState{ID: idOf("shop"), State: peers.HostRevoked}, peers.RemoveHost{ID: idOf("shop")})
	add := func(name string, id key.Identity) peers.Op { return peers.AddAdmin{Name: name, Identity: id} }
	checkRules(t, inv, []rule{
		{"valid", add("bert", identityOf("bert").Identity()), nil},
		{"name", add("Bert!", identityOf("bert").Identity()), []string{"name-invalid admin/Bert!"}},
		{"taken", add("anna", identityOf("bert").Identity()), []string{"name-taken admin/anna"}},
		{"no identity", add("bert", key.Identity{}), []string{"identity-missing admin/bert"}},
		{"anna's identity", add("bert", anna.Identity), []string{"identity-taken admin/bert"}},
		{"a host's identity", add("bert", identityOf("warehouse").Identity()), []string{"identity-taken admin/bert"}},
		{"a revoked identity", add("bert", identityOf("shop").Identity()), []string{"identity-revoked admin/bert"}},
		{"all at once", add("anna", anna.Identity), []string{"name-taken admin/anna", "identity-taken admin/anna"}},
		{"gone", peers.RemoveAdmin{Name: "anna"}, nil},
		{"unknown", peers.RemoveAdmin{Name: "bert"}, []string{"admin-unknown admin/bert"}},
	})
	next := after(t, inv, peers.RemoveAdmin{Name: "anna"})
	if _, ok := next.AdminWith(anna.Identity); ok {
		t.Error("anna is still an admin")
	}
	if a, ok := inv.AdminWith(anna.Identity); !ok || a.Name != "anna" || !a.Added.Equal(epoch) {
		t.Errorf("anna is %+v", a)
	}
}

func TestTokens(t *testing.T) {
	inv := after(t, threeSites(t), createToken("gone", "shop"), peers.RevokeToken{ID: "gone"})
	with := func(edit func(*peers.CreateToken)) peers.Op {
		op := createToken("t1", "shop")
		edit(&op)
		return op
	}
	id := func(id string) peers.Op { return createToken(id, "shop") }
	expires := func(d time.Duration) peers.Op {
		return with(func(op *peers.CreateToken) { op.Expires = epoch.Add(d) })
	}
	uses := func(n int) peers.Op { return with(func(op *peers.CreateToken) { op.Uses = n }) }
	checkRules(t, inv, []rule{
		{"valid", createToken("t1", "shop"), nil},
		{"new site", createToken("t1", "harbour"), nil},
		{"no id", id(""), []string{"token-id token/"}},
		{"long id", id(strings.Repeat("x", 33)), []string{"token-id token/" + strings.Repeat("x", 33)}},
		{"id no text", id("\xff"), []string{"token-id token/\xff"}},
		{"taken", id("t-shop"), []string{"token-id token/t-shop"}},
		{"no hash", with(func(op *peers.CreateToken) { op.Hash = peers.Hash{} }), []string{"token-hash token/t1"}},
		{"site", with(func(op *peers.CreateToken) { op.Site = "a b" }), []string{"name-invalid token/t1/site"}},
		{"name", with(func(op *peers.CreateToken) { op.Name, op.Uses = "a b", 1 }), []string{"name-invalid token/t1/name"}},
		{
			"taken name", with(func(op *peers.CreateToken) { op.Name, op.Uses = "shop", 1 }),
			[]string{"name-taken token/t1/name"},
		},
		{"one name for many", with(func(op *peers.CreateToken) { op.Name = "till" }), []string{"token-uses token/t1/uses"}},
		{"one use", uses(1), nil},
		{"no use", uses(0), []string{"token-uses token/t1/uses"}},
		{"less than no use", uses(-1), []string{"token-uses token/t1/uses"}},
		{"too many uses", uses(1001), []string{"token-uses token/t1/uses"}},
		{"a year", expires(366 * 24 * time.Hour), nil},
		{"more than a year", expires(366*24*time.Hour + 1), []string{"token-ttl token/t1/expires"}},
		{"expired", expires(0), []string{"expiry-past token/t1/expires"}},
		{"all at once", peers.CreateToken{Name: "shop"}, []string{
			"token-id token/", "token-hash token/", "name-invalid token//site", "name-taken token//name",
			"token-uses token//uses", "expiry-past token//expires",
		}},
		{"valid", peers.RevokeToken{ID: "t-shop"}, nil},
		{"unknown", peers.RevokeToken{ID: "t9"}, []string{"token-unknown token/t9"}},
		{"again", peers.RevokeToken{ID: "gone"}, []string{"token-revoked token/gone"}},
	})
}

func TestTokenValid(t *testing.T) {
	token := func(edit func(*peers.Token)) *peers.Token {
		tok := peers.Token{ID: "t1", Site: "shop", Expires: epoch.Add(time.Hour), Uses: 2}
		edit(&tok)
		return &tok
	}
	for name, c := range map[string]struct {
		token *peers.Token
		want  []string
	}{
		"valid":      {token(func(*peers.Token) {}), nil},
		"last use":   {token(func(tok *peers.Token) { tok.Used = 1 }), nil},
		"used up":    {token(func(tok *peers.Token) { tok.Used = 2 }), []string{"token-used-up"}},
		"expired":    {token(func(tok *peers.Token) { tok.Expires = epoch }), []string{"token-expired"}},
		"revoked":    {token(func(tok *peers.Token) { tok.Revoked = true }), []string{"token-revoked"}},
		"its name":   {token(func(tok *peers.Token) { tok.Name = "till" }), nil},
		"other name": {token(func(tok *peers.Token) { tok.Name = "shop" }), []string{"token-name"}},
		"two at once": {
			token(func(tok *peers.Token) { tok.Name, tok.Used = "shop", 9 }),
			[]string{"token-used-up", "token-name"},
		},
	} {
		err := c.token.Valid("till", epoch)
		var ps peers.Problems
		errors.As(err, &ps)
		var got []string
		for _, p := range ps {
			got = append(got, p.Code)
			if p.At != "token/t1" || p.Hint == "" {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if !slices.Equal(got, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
