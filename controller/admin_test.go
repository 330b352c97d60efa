package controller_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/controller/api"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

func TestTokens(t *testing.T) {
	s := newSite(t)
	var made wire.TokenView
	s.must(http.MethodPost, wire.PathTokens, map[string]any{"site": "shop", "from_the_future": 1}, &made)
	parsed, err := wire.ParseToken(made.Token)
	if err != nil || parsed.ID != made.ID || parsed.Pin != s.c.Identity().Identity() ||
		!slices.Equal(parsed.Controllers, []string{s.addr}) {
		t.Errorf("the token is %v, %v", parsed, err)
	}
	if made.Uses != 1 || made.State != "valid" || made.Expires.Sub(made.Created).Hours() > 1 ||
		made.Expires.Sub(made.Created).Minutes() < 59 {
		t.Errorf("defaults of a token: %+v", made)
	}
	if _, f := s.machine("shop").enrol(parsed); f != nil {
		t.Fatal(f)
	}
	other := s.token(wire.TokenOrder{Site: "erp", Name: "erp", TTL: 60})
	s.must(http.MethodDelete, wire.PathTokens+"/"+other.ID, nil, nil)
	var all []wire.TokenView
	s.must(http.MethodGet, wire.PathTokens, nil, &all)
	states := map[string]string{}
	for _, v := range all {
		states[v.ID] = v.State
		if v.Token != "" {
			t.Error("the list tells a token")
		}
	}
	if len(all) != 2 || states[made.ID] != "used-up" || states[other.ID] != "revoked" {
		t.Errorf("states %v", states)
	}
	for _, c := range []struct {
		order any
		code  string
	}{
		{wire.TokenOrder{Site: "A B"}, "name-invalid"},
		{wire.TokenOrder{Site: "shop", Uses: 9999}, "token-uses"},
		{wire.TokenOrder{Site: "shop", TTL: 400 * 86400}, "token-ttl"},
		{wire.TokenOrder{Site: "shop", Name: "shop"}, "name-taken"},
		{map[string]any{"site": 7}, "request-invalid"},
		{map[string]any{}, "request-invalid"},
		{map[string]any{"site": "shop", "uses": -1}, "request-invalid"},
		{"shop", "request-invalid"},
	} {
		if f := s.admin(http.MethodPost, wire.PathTokens, c.order, nil); f == nil || f.Code != c.code {
			t.Errorf("order %v: got %+v, want %s", c.order, f, c.code)
		}
	}
	if f := s.admin(http.MethodDelete, wire.PathTokens+"/nothere", nil, nil); f == nil || f.Status != 404 ||
		f.Code != "token-unknown" {
		t.Errorf("revoking no token: %+v", f)
	}
}

func TestHosts(t *testing.T) {
	s := newSite(t)
	var list []wire.HostView
	s.must(http.MethodGet, wire.PathHosts, nil, &list)
	if list == nil {
		t.Error("no hosts are null, want []")
	}
	b, a := s.join("b"), s.join("a")
	s.must(http.MethodGet, wire.PathHosts, nil, &list)
	if len(list) != 2 || list[0].Name != "a" || list[1].ID != b.id() || list[0].Identity != a.identity.Identity() {
		t.Errorf("list %+v", list)
	}
	if v := s.host(string(a.id())); v.Name != "a" {
		t.Errorf("found %q by its id", v.Name)
	}
	for _, c := range []struct {
		name, action string
		status       int
		code         string
	}{
		{"nobody", wire.ActionSuspend, 404, "host-unknown"},
		{"a", wire.ActionApprove, 409, "state-same"},
		{"a", wire.ActionResume, 409, "state-same"},
		{"a", "tickle", 422, "request-invalid"},
	} {
		f := s.admin(http.MethodPost, wire.PathHosts+"/"+c.name+"/"+c.action, nil, nil)
		if f == nil || f.Status != c.status || f.Code != c.code {
			t.Errorf("%s %s: got %+v, want %d %s", c.action, c.name, f, c.status, c.code)
		}
	}
	s.act("a", wire.ActionSuspend)
	if f := s.admin(http.MethodPost, wire.PathHosts+"/a/approve", nil, nil); f == nil || f.Code != "state-order" ||
		!strings.Contains(f.Hint, "resume") {
		t.Errorf("approving a suspended host: %+v", f)
	}
	waiting := s.machine("w")
	if _, f := waiting.enrol(s.token(wire.TokenOrder{Approve: true})); f != nil {
		t.Fatal(f)
	}
	if f := s.admin(http.MethodPost, wire.PathHosts+"/w/resume", nil, nil); f == nil || f.Code != "state-order" ||
		!strings.Contains(f.Hint, "approve") {
		t.Errorf("resuming a pending host: %+v", f)
	}
	s.act("a", wire.ActionRevoke)
	if f := s.admin(http.MethodPost, wire.PathHosts+"/a/resume", nil, nil); f == nil || f.Code != "state-revoked" {
		t.Errorf("resuming a revoked host: %+v", f)
	}
	if f := s.admin(http.MethodDelete, wire.PathHosts+"/nobody", nil, nil); f == nil || f.Code != "host-unknown" {
		t.Errorf("removing nobody: %+v", f)
	}
}

func TestMesh(t *testing.T) {
	s := newSite(t)
	s.join("a").connect()
	var m wire.MeshView
	s.must(http.MethodGet, wire.PathMesh, nil, &m)
	if m.Name != "warren" || m.Overlay.String() != "10.90.0.0/16" || m.Overlay6.Bits() != 64 ||
		m.Overlay6.Addr().As16()[0] != 0xfd ||
		m.Pin != s.c.Identity().Identity() || m.Hosts != 1 || m.Online != 1 || m.Version != "test" ||
		m.Revision != s.c.Inventory().Revision {
		t.Errorf("mesh %+v", m)
	}
	s.must(http.MethodPatch, wire.PathMesh, wire.MeshSettings{MTU: new(1380)}, &m)
	if m.MTU != 1380 || m.Keepalive != 25 {
		t.Errorf("mesh after a change %+v", m)
	}
	for body, code := range map[string]string{
		`{}`: "change-empty", `{"mtu":1}`: "mtu-invalid",
		`{"mtu":"x"}`: "request-invalid",
	} {
		if f := s.admin(http.MethodPatch, wire.PathMesh, json.RawMessage(body), nil); f == nil || f.Code != code {
			t.Errorf("%s: got %+v, want %s", body, f, code)
		}
	}
}

// TestWhoMayWhat goes through every kind of caller and every kind of route.
func TestWhoMayWhat(t *testing.T) {
	s := newSite(t)
	host := s.join("erp")
	stranger, admin := s.machine("stranger"), s.machine("anna")
	var added wire.AdminView
	s.must(http.MethodPost, wire.PathAdmins, wire.AdminView{Name: "anna", Identity: admin.identity.Identity()}, &added)
	if added.Name != "anna" || added.Added.IsZero() {
		t.Errorf("added %+v", added)
	}
	unix := func(c api.Caller) func(method, path string, in any) *wire.Fault {
		return func(method, path string, in any) *wire.Fault {
			s.rights.Store(&c)
			return s.admin(method, path, in, nil)
		}
	}
	tls := func(m *machine) func(method, path string, in any) *wire.Fault {
		return func(method, path string, in any) *wire.Fault { return m.call(method, path, in, nil) }
	}
	check := wire.EnrollCheck{Protocol: wire.Protocol, TokenID: "x", Secret: []byte("x")}
	for _, caller := range []struct {
		name                string
		ask                 func(method, path string, in any) *wire.Fault
		read, change, enrol string // the code of the fault, "" for none
	}{
		{"socket, may change", unix(api.Caller{Name: "unix:root", Read: true, Write: true}), "", "", "hosts-only"},
		{"socket, may read", unix(api.Caller{Name: "unix:anna", Read: true}), "", "read-only", "hosts-only"},
		{"socket, nobody", unix(api.Caller{Name: "unix:nobody"}), "not-admin", "not-admin", "hosts-only"},
		{"admin by TLS", tls(admin), "", "", "token-unknown"},
		{"host by TLS", tls(host), "not-admin", "not-admin", "token-unknown"},
		{"stranger by TLS", tls(stranger), "not-admin", "not-admin", "token-unknown"},
	} {
		t.Run(caller.name, func(t *testing.T) {
			for i, c := range []struct {
				method, path string
				in           any
				want         string
			}{
				{http.MethodGet, wire.PathTokens, nil, caller.read},
				{http.MethodGet, wire.PathHosts, nil, caller.read},
				{http.MethodGet, wire.PathHosts + "/erp", nil, caller.read},
				{http.MethodGet, wire.PathMesh, nil, caller.read},
				{http.MethodGet, wire.PathAdmins, nil, caller.read},
				{http.MethodPost, wire.PathTokens, wire.TokenOrder{Site: "shop"}, caller.change},
				{http.MethodDelete, wire.PathTokens + "/nothere", nil, or(caller.change, "token-unknown")},
				{http.MethodPost, wire.PathHosts + "/nobody/revoke", nil, or(caller.change, "host-unknown")},
				{http.MethodDelete, wire.PathHosts + "/nobody", nil, or(caller.change, "host-unknown")},
				{http.MethodPatch, wire.PathMesh, wire.MeshSettings{}, or(caller.change, "change-empty")},
				{http.MethodPost, wire.PathAdmins, wire.AdminView{Name: "bert"}, or(caller.change, "identity-missing")},
				{http.MethodDelete, wire.PathAdmins + "/nobody", nil, or(caller.change, "admin-unknown")},
				{http.MethodPost, wire.PathEnrollCheck, check, caller.enrol},
			} {
				got := ""
				if f := caller.ask(c.method, c.path, c.in); f != nil {
					got = f.Code
				}
				if got != c.want {
					t.Errorf("%d: %s %s gives %q, want %q", i, c.method, c.path, got, c.want)
				}
			}
		})
	}
	// An identity that is taken away is gone with the next request, on the same connection.
	s.rights.Store(&api.Caller{Name: "unix:root", Read: true, Write: true})
	s.must(http.MethodDelete, wire.PathAdmins+"/anna", nil, nil)
	if f := admin.call(http.MethodGet, wire.PathHosts, nil, nil); f == nil || f.Code != "not-admin" {
		t.Errorf("an admin that was removed: %+v", f)
	}
	if _, f := admin.dial(admin.hello()); f == nil || f.Code != "not-enrolled" {
		t.Errorf("an admin's stream: %+v", f)
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// TestLedgerSaysWho holds that each change names who made it.
func TestLedgerSaysWho(t *testing.T) {
	s := newSite(t)
	admin := s.machine("anna")
	s.must(http.MethodPost, wire.PathAdmins, wire.AdminView{Name: "anna", Identity: admin.identity.Identity()}, nil)
	s.join("erp")
	if f := admin.call(http.MethodPost, wire.PathHosts+"/erp/suspend", wire.HostAction{Why: "audit"}, nil); f != nil {
		t.Fatal(f)
	}
	var got []string
	for e, err := range s.db.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Kind+" by "+e.By+" "+e.Why)
	}
	want := []string{
		"mesh.create by controller first start", "admin.add by unix:tester ", "token.create by unix:tester ",
		"host.enroll by host:erp ", "host.state by admin:anna audit",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the ledger has\n%q, want\n%q", got, want)
	}
}

// TestWrongPaths holds that even what does not exist is answered with a fault.
func TestWrongPaths(t *testing.T) {
	s := newSite(t)
	for path, code := range map[string]string{
		"GET /v1/nothing": "path-unknown", "GET /": "path-unknown", "PUT " + wire.PathTokens: "method-not-allowed",
		"GET " + wire.PathStream: "method-not-allowed", "POST " + wire.PathStream: "hosts-only",
	} {
		method, path, _ := strings.Cut(path, " ")
		if f := s.admin(method, path, nil, nil); f == nil || f.Code != code {
			t.Errorf("%s %s: got %+v, want %s", method, path, f, code)
		}
	}
}

// TestTwoControllersOnOneLedger lets two controllers change things at the same time: nothing is lost, and
// both know everything in the end.
func TestTwoControllersOnOneLedger(t *testing.T) {
	a := newSite(t)
	b := siteOn(t, a.db)
	if a.c.Identity().Identity() != b.c.Identity().Identity() {
		t.Fatal("two controllers of one mesh have two identities")
	}
	watch, _ := a.join("watcher").connect()
	const each = 15
	done := make(chan struct{})
	token := b.token(wire.TokenOrder{Uses: each})
	go func() {
		defer close(done)
		for i := range each {
			if _, f := b.machine(fmt.Sprintf("b%d", i)).enrol(token); f != nil {
				t.Errorf("enrol b%d: %+v", i, f)
			}
		}
	}()
	for i := range each {
		a.join(fmt.Sprintf("a%d", i))
	}
	<-done
	eventually(t, "both know all", func() bool {
		x, y := a.c.Inventory(), b.c.Inventory()
		return x.Head == y.Head && len(x.Hosts) == 2*each+1
	})
	seen := map[peers.HostID]bool{}
	for len(seen) < 2*each {
		for _, p := range watch.expect(wire.DownDelta).Peers {
			seen[p.ID] = true
		}
	}
	loaded, err := a.db.Load(t.Context())
	if err != nil || loaded.Head != a.c.Inventory().Head {
		t.Errorf("the ledger is at %v, the controllers at %v (%v)", loaded.Head, a.c.Inventory().Head, err)
	}
	// Revoked at one controller: the stream at the other ends too.
	b.act("watcher", wire.ActionRevoke)
	if bye := watch.expect(wire.DownGoodbye); bye.Fault.Code != "revoked" {
		t.Errorf("goodbye %+v", bye)
	}
}
