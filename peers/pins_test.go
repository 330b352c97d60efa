package peers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

func someIdentity(t *testing.T, seed string) key.Identity {
	t.Helper()
	k, err := key.NewIdentityKey(strings.NewReader(strings.Repeat(seed, key.Size)))
	if err != nil {
		t.Fatal(err)
	}
	return k.Identity()
}

func TestPinsTellAnotherIdentityUnderAName(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	one, two := someIdentity(t, "1"), someIdentity(t, "2")
	as := func(id key.Identity) []peers.Peer { return []peers.Peer{{Name: "warehouse", Identity: id}} }

	pins, isNew := peers.Pins(nil).Note(meshID, as(one), now)
	if !isNew || len(pins.Problems(as(one), now)) != 0 {
		t.Fatalf("the first identity: new %v, problems %v", isNew, pins.Problems(as(one), now))
	}
	if _, again := pins.Note(meshID, as(one), now); again {
		t.Error("the same identity is new")
	}
	gone, isNew := pins.Note(meshID, nil, now)
	if isNew || len(gone) != 1 {
		t.Error("a host that is gone is forgotten")
	}
	swapped, isNew := gone.Note(meshID, as(two), now)
	if !isNew || !swapped.Problems(as(two), now).Has("peer-identity-changed") {
		t.Error("another identity under a known name is not told")
	}
	if pins["warehouse"].Identity != one {
		t.Error("the old pins were written to")
	}
	if ps := swapped.Problems(as(two), now.Add(25*time.Hour)); len(ps) != 0 {
		t.Errorf("told for ever: %v", ps)
	}
}

// TestPinsTrustAHandover: an identity that the known one has signed, at once or one by one, is the same host.
// Nothing else is, whatever comes with it.
func TestPinsTrustAHandover(t *testing.T) {
	now := epoch
	one, two, three, eve := identityOf("one"), identityOf("two"), identityOf("three"), identityOf("eve")
	chain := []peers.Handover{
		peers.SignHandover(meshID, one, two.Identity()), peers.SignHandover(meshID, two, three.Identity()),
	}
	forged := peers.Handover{From: one.Identity(), Signature: peers.SignHandover(meshID, eve, eve.Identity()).Signature}
	for name, c := range map[string]struct {
		known, now key.IdentityKey
		former     []peers.Handover
		trusted    bool
	}{
		"the next":                 {two, three, chain, true},
		"the one after it":         {one, three, chain, true},
		"no handover":              {one, three, nil, false},
		"to another one":           {one, eve, chain, false},
		"from another one":         {eve, three, chain, false},
		"not by the known one":     {one, eve, []peers.Handover{forged}, false},
		"a gap":                    {one, three, []peers.Handover{chain[0], peers.SignHandover(meshID, eve, three.Identity())}, false},
		"of another mesh":          {one, two, []peers.Handover{peers.SignHandover("m2", one, two.Identity())}, false},
		"turned round":             {three, one, chain, false},
		"the known one at the end": {two, two, chain, true},
	} {
		pins, _ := peers.Pins(nil).Note(meshID, []peers.Peer{{Name: "shop", Identity: c.known.Identity()}}, now)
		then := []peers.Peer{{Name: "shop", Identity: c.now.Identity(), Former: c.former}}
		pins, _ = pins.Note(meshID, then, now)
		if trusted := !pins.Problems(then, now).Has("peer-identity-changed"); trusted != c.trusted {
			t.Errorf("%s: trusted %v", name, trusted)
		}
		if pins["shop"].Identity != c.now.Identity() {
			t.Errorf("%s: the pin stays behind", name)
		}
	}
}
