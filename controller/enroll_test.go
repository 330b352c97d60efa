package controller_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

func TestEnrol(t *testing.T) {
	s := newSite(t)
	token := s.token(wire.TokenOrder{Site: "warehouse"})
	m := s.machine("erp")
	var offer wire.EnrollOffer
	check := wire.EnrollCheck{Protocol: wire.Protocol, TokenID: token.ID, Secret: token.Secret[:], Name: "erp"}
	if f := m.call(http.MethodPost, wire.PathEnrollCheck, check, &offer); f != nil {
		t.Fatalf("check: %+v", f)
	}
	mesh := s.c.Inventory().Mesh
	if offer.MeshID != mesh.ID || offer.Overlay != mesh.Overlay || offer.Site != "warehouse" ||
		offer.Protocol != wire.Protocol ||
		len(offer.Generations) != 1 || offer.Generations[0] != 1 || time.Since(offer.Time).Abs() > time.Minute {
		t.Errorf("offer %+v does not fit the mesh %+v", offer, mesh)
	}
	e, f := m.enrol(token)
	if f != nil {
		t.Fatalf("enrol: %+v", f)
	}
	if e.ID != m.id() || e.Name != "erp" || e.Site != "warehouse" || e.State != peers.HostActive ||
		e.Address.String() != "10.90.0.1" || len(e.Controllers) != 1 || e.Controllers[0] != s.addr {
		t.Errorf("enrolled as %+v", e)
	}
	if strings.Contains(s.log.String(), token.Encode()) || strings.Contains(s.log.String(), string(token.Secret[:])) {
		t.Error("the log tells the secret of a token")
	}
}

// TestLostReply holds that asking again gives the same answer, uses the token once, and works when the
// token could not be used any more.
func TestLostReply(t *testing.T) {
	s := newSite(t)
	token := s.token(wire.TokenOrder{})
	m := s.machine("shop1")
	first, f := m.enrol(token)
	if f != nil {
		t.Fatal(f)
	}
	s.must(http.MethodDelete, wire.PathTokens+"/"+token.ID, nil, nil)
	revision := s.c.Inventory().Revision
	check := wire.EnrollCheck{Protocol: wire.Protocol, TokenID: token.ID, Secret: token.Secret[:], Name: "shop1"}
	if f := m.call(http.MethodPost, wire.PathEnrollCheck, check, &wire.EnrollOffer{}); f != nil {
		t.Errorf("check again: %+v", f)
	}
	again, f := m.enrol(token)
	if f != nil {
		t.Fatalf("enrol again: %+v", f)
	}
	if first.ID != again.ID || first.Address != again.Address || first.Name != again.Name {
		t.Errorf("first %+v, again %+v", first, again)
	}
	if now := s.c.Inventory().Revision; now != revision {
		t.Errorf("asking again made revision %d of %d", now, revision)
	}
	if used := s.c.Inventory().Tokens[token.ID].Used; used != 1 {
		t.Errorf("the token was used %d times", used)
	}
}

// TestEnrolFailures goes through all ways in which an enrolment fails. Each is told from the others, and
// none leaves anything behind.
func TestEnrolFailures(t *testing.T) {
	s := newSite(t)
	usable := s.token(wire.TokenOrder{Uses: 100})
	revoked := s.token(wire.TokenOrder{})
	s.must(http.MethodDelete, wire.PathTokens+"/"+revoked.ID, nil, nil)
	usedUp := s.token(wire.TokenOrder{})
	if _, f := s.machine("early").enrol(usedUp); f != nil {
		t.Fatal(f)
	}
	bound := s.token(wire.TokenOrder{Name: "erp"})
	short := s.token(wire.TokenOrder{TTL: 1})
	banned, gone := s.join("banned"), s.join("gone")
	s.act("banned", wire.ActionRevoke)
	s.act("gone", wire.ActionRevoke)
	s.must(http.MethodDelete, wire.PathHosts+"/gone", nil, nil)
	resting := s.join("resting")
	s.act("resting", wire.ActionSuspend)
	here := s.join("here")
	thief := s.machine("thief")
	thief.wg = here.wg
	forger := s.machine("forger")
	eventually(t, "the short token expires", func() bool {
		return !time.Now().Before(s.c.Inventory().Tokens[short.ID].Expires)
	})

	with := func(change func(*wire.EnrollRequest)) func(*wire.EnrollRequest) { return change }
	for _, c := range []struct {
		name   string
		who    *machine
		token  wire.Token
		change func(*wire.EnrollRequest)
		status int
		code   string
	}{
		{"unknown token", nil, wire.Token{ID: "nothere", Secret: usable.Secret}, nil, 403, "token-unknown"},
		{"wrong secret", nil, wire.Token{ID: usable.ID, Secret: bound.Secret}, nil, 403, "token-unknown"},
		{"short secret", nil, usable, with(func(r *wire.EnrollRequest) { r.Secret = []byte("x") }), 403, "token-unknown"},
		{"expired", nil, short, nil, 403, "token-expired"},
		{"used up", nil, usedUp, nil, 403, "token-used-up"},
		{"revoked token", nil, revoked, nil, 403, "token-revoked"},
		{"token for another name", nil, bound, nil, 403, "token-name"},
		{"name taken", nil, usable, with(func(r *wire.EnrollRequest) { r.Name = "here" }), 409, "name-taken"},
		{"no name", nil, usable, with(func(r *wire.EnrollRequest) { r.Name = "" }), 422, "name-invalid"},
		{"name that is none", nil, usable, with(func(r *wire.EnrollRequest) { r.Name = "-a b" }), 422, "name-invalid"},
		{"enrolled already", here, usable, nil, 409, "identity-enrolled"},
		{"revoked identity", banned, usable, nil, 403, "revoked"},
		{"revoked and removed identity", gone, usable, nil, 403, "revoked"},
		{"suspended identity", resting, usable, nil, 403, "suspended"},
		{"protocol of the past", nil, usable, with(func(r *wire.EnrollRequest) { r.Protocol = 0 }), 400, "protocol"},
		{"protocol of the future", nil, usable, with(func(r *wire.EnrollRequest) { r.Protocol = 99 }), 400, "protocol"},
		{"no key", nil, usable, with(func(r *wire.EnrollRequest) { r.Keys = nil }), 422, "key-missing"},
		{
			"somebody else's signature", forger, usable, with(func(r *wire.EnrollRequest) { r.Keys[0] = here.key() }), 422,
			"key-signature",
		},
		{"somebody else's key", thief, usable, nil, 409, "key-taken"},
		{"port without a next one", nil, usable, with(func(r *wire.EnrollRequest) { r.Port = 65535 }), 422, "port-invalid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			who := c.who
			if who == nil {
				who = s.machine("stranger")
			}
			before := s.c.Inventory().Revision
			r := who.request(c.token)
			if c.change != nil {
				c.change(&r)
			}
			f := who.call(http.MethodPost, wire.PathEnroll, r, nil)
			if f == nil || f.Code != c.code || f.Status != c.status {
				t.Fatalf("got %+v, want %d %s", f, c.status, c.code)
			}
			if f.Hint == "" && !strings.HasPrefix(f.Code, "key-") && f.Code != "port-invalid" {
				t.Errorf("%s has no hint", f.Code)
			}
			// What can be known before the keys are there is said before they are asked for.
			check := wire.EnrollCheck{Protocol: r.Protocol, TokenID: r.TokenID, Secret: r.Secret, Name: r.Name}
			g := who.call(http.MethodPost, wire.PathEnrollCheck, check, nil)
			early := c.status == 403 || c.status == 400 || c.code == "name-taken"
			if early && (g == nil || g.Code != f.Code || g.Status != f.Status) {
				t.Errorf("the check says %+v, the enrolment %+v", g, f)
			}
			if now := s.c.Inventory().Revision; now != before {
				t.Errorf("the refused enrolment made revision %d", now)
			}
		})
	}
}

func TestTwoRacersForOneUse(t *testing.T) {
	s := newSite(t)
	for range 5 {
		token := s.token(wire.TokenOrder{})
		racers := make([]*machine, 8)
		faults := make([]*wire.Fault, len(racers))
		var run sync.WaitGroup
		for i := range racers {
			racers[i] = s.machine(fmt.Sprintf("racer-%s-%d", token.ID, i))
		}
		for i, m := range racers {
			run.Go(func() { _, faults[i] = m.enrol(token) })
		}
		run.Wait()
		joined := 0
		for i, f := range faults {
			_, in := s.c.Inventory().Hosts[racers[i].id()]
			switch {
			case f == nil && in:
				joined++
			case f == nil || f.Code != "token-used-up" || in:
				t.Errorf("a loser of the race got %+v and is in: %v", f, in)
			}
		}
		if joined != 1 {
			t.Errorf("%d hosts joined with a token for one", joined)
		}
	}
}

// TestGuessing holds that failing attempts are slowed down, and that others are not.
func TestGuessing(t *testing.T) {
	s := newSite(t)
	m := s.machine("guesser")
	token := s.token(wire.TokenOrder{})
	guess := wire.Token{ID: token.ID}
	var last *wire.Fault
	for i := 0; last == nil || last.Code == "token-unknown"; i++ {
		if i > 50 {
			t.Fatal("fifty guesses and no end")
		}
		_, last = m.enrol(guess)
	}
	if last.Status != http.StatusTooManyRequests || last.Code != "too-many-attempts" || last.RetryAfter < 1 {
		t.Errorf("in the end got %+v, want 429 with a time to wait", last)
	}
	check := wire.EnrollCheck{Protocol: wire.Protocol, TokenID: token.ID, Secret: []byte("guess")}
	if f := m.call(http.MethodPost, wire.PathEnrollCheck, check, nil); f == nil || f.Status != http.StatusTooManyRequests {
		t.Errorf("check after too many guesses: %+v", f)
	}
	if f := s.machine("elsewhere").call(http.MethodPost, wire.PathEnrollCheck, check, nil); f == nil ||
		f.Code != "token-unknown" {
		t.Errorf("another address: %+v, want token-unknown", f)
	}
	if _, f := m.enrol(token); f != nil {
		t.Errorf("the right token from the address of the guesser: %+v", f)
	}
}

// TestManyBehindOneAddress holds that enrolments which succeed are not slowed down.
func TestManyBehindOneAddress(t *testing.T) {
	s := newSite(t)
	token := s.token(wire.TokenOrder{Uses: 60})
	first := s.machine("first")
	for i := range 60 {
		m := s.machine(fmt.Sprintf("h%d", i))
		m.from = first.from
		m.reboot()
		if _, f := m.enrol(token); f != nil {
			t.Fatalf("host %d: %+v", i, f)
		}
	}
}

func TestEndpointsAreFiltered(t *testing.T) {
	s := newSite(t)
	m := s.machine("shop1")
	r := m.request(s.token(wire.TokenOrder{}))
	r.Endpoints = nil
	for _, e := range []struct {
		kind    peers.EndpointKind
		address string
	}{
		{peers.EndpointLocal, "192.0.2.7:51820"},
		{peers.EndpointLocal, "127.0.0.1:51820"},
		{peers.EndpointLocal, "10.90.0.5:51820"},
		{peers.EndpointLocal, "192.0.2.7:65535"},
		{peers.EndpointObserved, "198.51.100.1:51820"},
		{"guessed", "198.51.100.2:51820"},
		{peers.EndpointPinned, "198.51.100.3:51820"},
	} {
		r.Endpoints = append(r.Endpoints, peers.Endpoint{Kind: e.kind, Address: netip.MustParseAddrPort(e.address)})
	}
	if f := m.call(http.MethodPost, wire.PathEnroll, r, nil); f != nil {
		t.Fatal(f)
	}
	var got []string
	for _, e := range s.host("shop1").Endpoints {
		got = append(got, string(e.Kind)+" "+e.Address.String())
	}
	// The test itself comes from 127.0.0.1, which is no use to others.
	if want := "pinned 198.51.100.3:51820,local 192.0.2.7:51820"; strings.Join(got, ",") != want {
		t.Errorf("endpoints %q, want %s", got, want)
	}
}
