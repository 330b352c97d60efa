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

	pins, isNew := peers.Pins(nil).Note(as(one), now)
	if !isNew || len(pins.Problems(as(one), now)) != 0 {
		t.Fatalf("the first identity: new %v, problems %v", isNew, pins.Problems(as(one), now))
	}
	if _, again := pins.Note(as(one), now); again {
		t.Error("the same identity is new")
	}
	gone, isNew := pins.Note(nil, now)
	if isNew || len(gone) != 1 {
		t.Error("a host that is gone is forgotten")
	}
	swapped, isNew := gone.Note(as(two), now)
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
