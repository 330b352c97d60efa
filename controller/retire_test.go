package controller_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// record makes a change past all controllers, as another one would.
func (m *memoryLedger) record(t *testing.T, op peers.Op) {
	t.Helper()
	inv, err := m.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, e, err := inv.Record(peers.Change{At: time.Now(), By: "test", Op: op})
	if err == nil {
		err = m.Append(t.Context(), e)
	}
	if err != nil {
		t.Fatalf("%s: %v", op.Kind(), err)
	}
}

// enrol puts a host into a ledger that no agent runs on.
func (m *memoryLedger) enrol(t *testing.T, name string) {
	t.Helper()
	identity, err := key.NewIdentityKey(bytes.NewReader(bytes.Repeat([]byte(name), key.Size)))
	if err != nil {
		t.Fatal(err)
	}
	private, err := key.NewPrivate(bytes.NewReader(bytes.Repeat([]byte(name), key.Size)))
	if err != nil {
		t.Fatal(err)
	}
	inv, _ := m.Load(t.Context())
	if inv.Sites["shop"] == nil {
		m.record(t, peers.SetSite{Name: "shop"})
	}
	m.record(t, peers.CreateToken{ID: name, Hash: peers.Hash{1}, Site: "shop", Uses: 1, Expires: time.Now().Add(time.Hour)})
	m.record(t, peers.EnrollHost{
		Token: name, Identity: identity.Identity(), Name: name, Port: 51820,
		Keys: []peers.HostKey{peers.SignKey(inv.Mesh.ID, identity, 1, private.Public())},
	})
}

// TestNobodyIsGoneAtTheStart: a controller that was away for longer than anybody is waited for gives hosts, which may have
// been there all the time, the time to come back, before it ends the rotation without them.
func TestNobodyIsGoneAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryLedger()
		r := newRota(t, store)
		defer func() { r.stop() }()
		store.enrol(t, "shop")
		store.enrol(t, "warehouse")
		synctest.Wait()
		if _, err := r.c.Rotate(t.Context(), "unix:tester", wire.RotationOrder{Grace: 3600}); err != nil {
			t.Fatal(err)
		}
		runs := func() bool { return len(r.c.Inventory().Mesh.Generations) == 2 }
		if r.pass(50 * time.Minute); !runs() {
			t.Fatal("the rotation is over before its time")
		}
		r.stop()
		<-time.After(24 * time.Hour)
		r.start(store)
		if r.pass(50 * time.Second); !runs() {
			t.Fatal("the rotation was ended before a host could come back")
		}
		if r.pass(time.Minute); runs() {
			t.Error("hosts that do not come back are waited for without end")
		}
	})
}
