package controller_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/warren-mesh/warren/controller"
	"github.com/warren-mesh/warren/controller/ledger"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// A store is where a controller keeps everything.
type store interface {
	controller.Ledger
	controller.Vault
}

func open(t *testing.T, in store, s controller.Settings) (*controller.Controller, error) {
	t.Helper()
	return controller.Open(t.Context(), in, in, s, slog.New(slog.DiscardHandler))
}

func TestFirstStart(t *testing.T) {
	db := newDB(t)
	s := controller.Settings{Name: "orders", Overlay: netip.MustParsePrefix("10.7.0.0/16")}
	c, err := open(t, db, s)
	if err != nil {
		t.Fatal(err)
	}
	m := c.Inventory().Mesh
	if c.Inventory().Revision != 1 || m.Name != "orders" || m.Overlay != s.Overlay || m.ID == "" || m.Current() != 1 {
		t.Errorf("the mesh is %+v", m)
	}
	if ula := netip.MustParsePrefix("fd00::/8"); m.Overlay6.Bits() != 64 || !ula.Contains(m.Overlay6.Addr()) {
		t.Errorf("the IPv6 overlay is %v, want a /64 of fd00::/8", m.Overlay6)
	}
	again, err := open(t, db, controller.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if again.Inventory().Head != c.Inventory().Head || !again.Identity().Equal(c.Identity()) {
		t.Error("the second start has another mesh or identity")
	}
	other := newDB(t)
	stranger, err := open(t, other, s)
	if err != nil {
		t.Fatal(err)
	}
	if stranger.Inventory().Mesh.ID == m.ID || stranger.Inventory().Mesh.Overlay6 == m.Overlay6 ||
		stranger.Identity().Equal(c.Identity()) {
		t.Error("two meshes have something in common that is random")
	}
}

// startError holds that a start failed with what an operator needs to know.
func startError(t *testing.T, err error, part string) {
	t.Helper()
	start, ok := errors.AsType[*controller.StartError](err)
	if !ok || !strings.Contains(err.Error(), part) {
		t.Fatalf("got %v, want a StartError about %q", err, part)
	}
	if start.Hint() == "" {
		t.Errorf("%v has no hint", err)
	}
}

func TestSettingsOfAnotherMesh(t *testing.T) {
	db := newDB(t)
	if _, err := open(t, db, controller.Settings{}); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, db, controller.Settings{Name: "invoices"})
	startError(t, err, `"warren", not "invoices"`)
	_, err = open(t, db, controller.Settings{Overlay: netip.MustParsePrefix("10.91.0.0/16")})
	startError(t, err, "10.90.0.0/16, which cannot become 10.91.0.0/16")
	if _, err = open(t, db, controller.Settings{Name: "warren", Overlay: controller.DefaultOverlay()}); err != nil {
		t.Errorf("settings that say what is: %v", err)
	}
}

func TestFirstStartThatIsRefusedLeavesNothing(t *testing.T) {
	db := newDB(t)
	_, err := open(t, db, controller.Settings{Overlay: netip.MustParsePrefix("8.8.0.0/16")})
	startError(t, err, "not a private range")
	_, err = open(t, db, controller.Settings{Name: "Not A Name"})
	startError(t, err, "no valid name")
	if _, err := db.Fetch(t.Context(), "identity"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the vault has an identity: %v", err)
	}
}

// TestNoNewIdentityForAnOldMesh is the one that matters: every host has pinned the old identity.
func TestNoNewIdentityForAnOldMesh(t *testing.T) {
	for name, what := range map[string]string{
		"identity":     "identity of its controller",
		"generation/1": "secret of generation 1",
	} {
		db := newDB(t)
		if _, err := open(t, db, controller.Settings{}); err != nil {
			t.Fatal(err)
		}
		if err := db.Destroy(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, db, controller.Settings{})
		startError(t, err, what)
		if _, err := db.Fetch(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a new %s was made: %v", name, err)
		}
		if err := db.Put(t.Context(), map[string][]byte{name: []byte("garbage")}); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, db, controller.Settings{}); err == nil || strings.Contains(err.Error(), "garbage") {
			t.Errorf("a damaged %s: %v", name, err)
		}
	}
}

// A fragile ledger fails on command.
type fragile struct {
	*ledger.DB
	mu     sync.Mutex
	before error // Append returns it and writes nothing
	after  error // Append writes and returns it
}

func (f *fragile) set(before, after error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

// Append fails as it was told to.
func (f *fragile) Append(ctx context.Context, e peers.Entry) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.before != nil {
		return f.before
	}
	return errors.Join(f.DB.Append(ctx, e), f.after)
}

var errDisk = errors.New("no room left on the disk")

// TestCrashBetweenIdentityAndMesh: the identity that was made before the crash is the one that is used.
func TestCrashBetweenIdentityAndMesh(t *testing.T) {
	f := &fragile{DB: newDB(t)}
	f.set(errDisk, nil)
	if _, err := open(t, f, controller.Settings{}); !errors.Is(err, errDisk) {
		t.Fatalf("a first start without room: %v", err)
	}
	made, err := f.Fetch(t.Context(), "identity")
	if err != nil {
		t.Fatal(err)
	}
	f.set(nil, nil)
	c, err := open(t, f, controller.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Identity().Expose() != string(made) {
		t.Error("the identity from before the crash was thrown away")
	}
}

func TestLedgerThatFails(t *testing.T) {
	f := &fragile{DB: newDB(t)}
	c, err := open(t, f, controller.Settings{Advertise: []string{"192.0.2.1:7443"}})
	if err != nil {
		t.Fatal(err)
	}
	order := wire.TokenOrder{Site: "shop"}
	f.set(errDisk, nil)
	_, err = c.CreateToken(t.Context(), "admin:anna", order)
	fault, ok := errors.AsType[*wire.Fault](err)
	if !ok || fault.Status != http.StatusServiceUnavailable || fault.Code != "ledger-failed" ||
		!strings.Contains(fault.Detail, "no room") {
		t.Errorf("without room: %v", err)
	}
	if len(c.Tokens()) != 0 || c.Inventory().Revision != 1 {
		t.Error("a change that the ledger has not taken is there")
	}
	// Written, but the answer was lost: it must not be lost here, nor be made twice.
	f.set(nil, errDisk)
	if _, err = c.CreateToken(t.Context(), "admin:anna", order); err == nil {
		t.Error("a lost answer gave no error")
	}
	f.set(nil, nil)
	if _, err = c.CreateToken(t.Context(), "admin:anna", order); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if n, rev := len(c.Tokens()), c.Inventory().Revision; n != 2 || rev != 3 {
		t.Errorf("%d tokens at revision %d, want 2 at 3", n, rev)
	}
	loaded, err := f.Load(t.Context())
	if err != nil || loaded.Head != c.Inventory().Head {
		t.Errorf("the ledger and the controller differ: %v", err)
	}
}

func TestGivenUpAfterManyConflicts(t *testing.T) {
	f := &fragile{DB: newDB(t)}
	c, err := open(t, f, controller.Settings{Advertise: []string{"192.0.2.1:7443"}})
	if err != nil {
		t.Fatal(err)
	}
	f.set(peers.ErrConflict, nil)
	_, err = c.CreateToken(t.Context(), "admin:anna", wire.TokenOrder{Site: "shop"})
	if fault, ok := errors.AsType[*wire.Fault](err); !ok || fault.Code != "busy" {
		t.Errorf("got %v, want busy", err)
	}
}

func TestNoTokenWithoutAnAddress(t *testing.T) {
	db := newDB(t)
	c, err := open(t, db, controller.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CreateToken(t.Context(), "admin:anna", wire.TokenOrder{Site: "shop"})
	if fault, ok := errors.AsType[*wire.Fault](err); !ok || fault.Code != "no-address" ||
		!strings.Contains(fault.Hint, "--advertise") {
		t.Errorf("got %v, want no-address", err)
	}
}
