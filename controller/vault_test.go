package controller_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	"github.com/warren-mesh/warren/controller"
	"github.com/warren-mesh/warren/controller/ledger"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// A raced vault lets others go first when it is asked for one name.
type raced struct {
	controller.Vault
	name  string
	asked func() // when it was looked for, or is about to be set
	set   func() // before it is set
}

func (r *raced) Fetch(ctx context.Context, name string) ([]byte, error) {
	raw, err := r.Vault.Fetch(ctx, name)
	if name == r.name {
		r.asked()
	}
	return raw, err
}

func (r *raced) Put(ctx context.Context, values map[string][]byte) error {
	r.wait(values)
	return r.Vault.Put(ctx, values)
}

func (r *raced) Create(ctx context.Context, values map[string][]byte) error {
	r.wait(values)
	return r.Vault.Create(ctx, values)
}

func (r *raced) wait(values map[string][]byte) {
	if _, ok := values[r.name]; ok {
		r.asked()
		r.set()
	}
}

// race gives two controllers on one ledger, and a race between them: the second sees nothing of that name in the vault, and
// sets it after the first has done what is raced.
func race(t *testing.T, name string) (first, second *site, run func(do func(s *site) *wire.Fault)) {
	t.Helper()
	db := newDB(t)
	looked, done := make(chan struct{}), make(chan struct{})
	see := sync.OnceFunc(func() { close(looked) })
	first = &site{t: t, db: db, log: &logBook{}, vault: &raced{db, name, func() {}, func() { <-looked }}}
	second = &site{t: t, db: db, log: &logBook{}, vault: &raced{db, name, see, func() { <-done }}}
	first.begin()
	second.begin()
	return first, second, func(do func(s *site) *wire.Fault) {
		t.Helper()
		lost := make(chan *wire.Fault)
		go func() { lost <- do(second) }()
		if f := do(first); f != nil {
			t.Fatalf("the first: %+v", f)
		}
		close(done)
		if f := <-lost; f == nil {
			t.Fatal("both were let")
		}
	}
}

// TestRacedRotations: two controllers begin a rotation at once. One is let, and what hosts are told by one and by the other
// comes from the same secret.
func TestRacedRotations(t *testing.T) {
	a, b, run := race(t, "generation/2")
	all := movers(t, a, true, true)
	shop, warehouse := all[0], all[1]
	run(func(s *site) *wire.Fault {
		return s.admin(http.MethodPost, wire.PathRotation, wire.RotationOrder{Why: "raced"}, nil)
	})
	warehouse.stream.close()
	warehouse.s = b
	warehouse.reboot()
	warehouse.open(true)
	psks := map[string]string{}
	shop.announce()
	warehouse.announce()
	hear := func(m, o *mover) {
		d := m.hears("the key of "+o.name, func(d wire.Down) bool { return d.PSKs[2][o.id()] != "" })
		psks[m.name] = d.PSKs[2][o.id()]
	}
	hear(shop, warehouse)
	hear(warehouse, shop)
	if psks["shop"] != psks["warehouse"] {
		t.Error("the two ends of a pair have different pre-shared keys")
	}
}

// TestRacedIdentities: two controllers begin to change their identity at once. The next one that the ledger names, and
// hosts begin to trust, is the one in the vault.
func TestRacedIdentities(t *testing.T) {
	a, _, run := race(t, "identity/next")
	run(func(s *site) *wire.Fault {
		return s.admin(http.MethodPost, wire.PathMeshRekey, wire.MeshRekey{}, nil)
	})
	raw, err := a.db.Fetch(t.Context(), "identity/next")
	if err != nil {
		t.Fatal(err)
	}
	k, err := key.ParseIdentityKey(string(raw))
	if heir := a.c.Inventory().Mesh.Heir; err != nil || heir == nil || k.Identity() != heir.To {
		t.Errorf("the vault has %v (%v), the ledger names %+v", k.Identity(), err, heir)
	}
}

// TestCreate: many writers set the same names at once. One of them does, all of its values, and the others are told.
func TestCreate(t *testing.T) {
	db, err := ledger.Open(filepath.Join(t.TempDir(), "warren.db"), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const writers = 8
	faults := make([]error, writers)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			mine := []byte{byte('a' + i)}
			faults[i] = db.Create(t.Context(), map[string][]byte{"one": mine, "two": mine})
		})
	}
	all.Wait()
	winner := -1
	for i, err := range faults {
		switch {
		case err == nil && winner < 0:
			winner = i
		case err == nil:
			t.Errorf("writers %d and %d were let", winner, i)
		case !errors.Is(err, fs.ErrExist):
			t.Errorf("writer %d: %v", i, err)
		}
	}
	for _, name := range []string{"one", "two"} {
		if raw, err := db.Fetch(t.Context(), name); err != nil || winner < 0 || string(raw) != string(rune('a'+winner)) {
			t.Errorf("%s is %q (%v), writer %d was let", name, raw, err, winner)
		}
	}
	// Half of it is there: nothing is set.
	if err := db.Create(t.Context(), map[string][]byte{"one": {1}, "three": {1}}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("of a name that is there and one that is not: %v", err)
	}
	if _, err := db.Fetch(t.Context(), "three"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half of it was set: %v", err)
	}
	if err := db.Destroy(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if err := db.Create(t.Context(), map[string][]byte{"one": {1}}); err != nil {
		t.Errorf("of a name that is free again: %v", err)
	}
	if err := db.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRacedStarts: two controllers start for the first time on one ledger. Both are the one whose identity is kept.
func TestRacedStarts(t *testing.T) {
	db := newDB(t)
	looked, done := make(chan struct{}), make(chan struct{})
	see := sync.OnceFunc(func() { close(looked) })
	log := slog.New(slog.DiscardHandler)
	pins := make(chan key.Identity, 1)
	go func() {
		second := &raced{db, "identity", see, func() { <-done }}
		c, err := controller.Open(t.Context(), db, second, controller.Settings{}, log)
		if err != nil {
			t.Errorf("the second: %v", err)
			close(pins)
			return
		}
		pins <- c.Identity().Identity()
	}()
	first, err := controller.Open(t.Context(), db, &raced{db, "identity", func() {}, func() { <-looked }}, controller.Settings{}, log)
	close(done)
	if err != nil {
		t.Fatal(err)
	}
	if pin := <-pins; pin != first.Identity().Identity() {
		t.Errorf("one controller is %v, the other %v", first.Identity().Identity(), pin)
	}
	if again, err := controller.Open(t.Context(), db, db, controller.Settings{}, log); err != nil ||
		again.Identity().Identity() != first.Identity().Identity() {
		t.Errorf("started again: %v", err)
	}
}
