package ledger

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/warren-mesh/warren/peers"
)

func TestEmpty(t *testing.T) {
	db := newDB(t)
	inv, err := db.Load(t.Context())
	if err != nil || inv.Revision != 0 || len(inv.Objects()) != 0 {
		t.Errorf("empty database: %+v, %v", inv, err)
	}
	for e, err := range db.Read(t.Context(), 0) {
		t.Errorf("empty database has %v, %v", e, err)
	}
	if err := db.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAppendReadLoad(t *testing.T) {
	db, m := newDB(t), newMesh()
	want := fill(t, db, m, 600) // more than two batches of Read
	check := func(db *DB) {
		t.Helper()
		var got []peers.Entry
		for e, err := range db.Read(t.Context(), 0) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		if !reflect.DeepEqual(want, got) {
			t.Error("read other entries than were appended")
		}
		inv, err := db.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(m.inv.Objects(), inv.Objects()) {
			t.Error("loaded other objects than were appended")
		}
		if inv.Revision != 600 || inv.Head != want[599].Hash || db.Head() != 600 {
			t.Errorf("head is %d %v, want 600 %v", inv.Revision, inv.Head, want[599].Hash)
		}
		if err := db.Verify(t.Context()); err != nil {
			t.Error(err)
		}
	}
	check(db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	check(openDB(t, db.path))
}

func TestReadAfter(t *testing.T) {
	db, m := newDB(t), newMesh()
	fill(t, db, m, 20)
	for _, after := range []peers.Revision{0, 1, 19, 20, 21, 1 << 63} {
		next := after
		entries := db.Read(t.Context(), after)
		for range 2 { // an iterator can be used again
			next = after
			for e, err := range entries {
				if err != nil || e.Revision != next+1 {
					t.Fatalf("after %d: revision %d, %v", next, e.Revision, err)
				}
				next = e.Revision
			}
		}
		if want := max(after, 20); next != want {
			t.Errorf("Read(%d) ends at %d, want %d", after, next, want)
		}
	}
}

// TestReadGrows appends while somebody reads: he gets those entries too, and nobody waits for the other.
func TestReadGrows(t *testing.T) {
	db, m := newDB(t), newMesh()
	fill(t, db, m, 3)
	var got []peers.Revision
	for e, err := range db.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Revision)
		if e.Revision < 6 {
			fill(t, db, m, 1)
		}
	}
	if want := []peers.Revision{1, 2, 3, 4, 5, 6, 7, 8}; !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}

func TestAppendRefuses(t *testing.T) {
	db, m := newDB(t), newMesh()
	fill(t, db, m, 5)
	before := mustEverything(t, db)
	good := m.next(t)
	cases := []struct {
		name   string
		change func(*peers.Entry)
		want   error
	}{
		{"revision too high", func(e *peers.Entry) { e.Revision++ }, peers.ErrConflict},
		{"revision there already", func(e *peers.Entry) { e.Revision-- }, peers.ErrConflict},
		{"other predecessor", func(e *peers.Entry) { e.Prev[0]++ }, peers.ErrConflict},
		{"other content", func(e *peers.Entry) { e.Why = "" }, peers.ErrChain},
		{"other hash", func(e *peers.Entry) { e.Hash[0]++ }, peers.ErrChain},
		{"no JSON", func(e *peers.Entry) { e.Op = []byte("{") }, nil},
	}
	for _, c := range cases {
		bad := good
		c.change(&bad)
		err := db.Append(t.Context(), bad)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if after := mustEverything(t, db); after != before {
		t.Errorf("refused entries left something behind:\n%s", cmp.Diff(before, after))
	}
	if err := db.Append(t.Context(), good); err != nil {
		t.Error(err)
	}
}

// TestAppendRace lets several writers go for the same revisions.
func TestAppendRace(t *testing.T) {
	const writers, revisions = 4, 30
	db, m := newDB(t), newMesh()
	var entries []peers.Entry
	for range revisions {
		entries = append(entries, m.next(t))
	}
	for _, e := range entries {
		var wg sync.WaitGroup
		errs := make([]error, writers)
		for i := range writers {
			wg.Go(func() { errs[i] = db.Append(t.Context(), e) })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, peers.ErrConflict):
				t.Error(err)
			}
		}
		if won != 1 {
			t.Fatalf("revision %d: %d writers won, want 1", e.Revision, won)
		}
	}
	if err := db.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestClosed(t *testing.T) {
	db, m := newDB(t), newMesh()
	fill(t, db, m, 2)
	if err := errors.Join(db.Close(), db.Close()); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	_, errLoad := db.Load(t.Context())
	_, errWatch := db.Watch(t.Context())
	_, errFetch := db.Fetch(t.Context(), "x")
	var errRead error
	for _, errRead = range db.Read(t.Context(), 0) {
	}
	for what, err := range map[string]error{
		"Load": errLoad, "Watch": errWatch, "Fetch": errFetch, "Read": errRead,
		"Append": db.Append(t.Context(), m.next(t)), "Put": db.Put(t.Context(), nil),
		"Destroy": db.Destroy(t.Context(), "x"), "Verify": db.Verify(t.Context()),
		"Snapshot": db.Snapshot(&strings.Builder{}),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}

func TestCancelled(t *testing.T) {
	db, m := newDB(t), newMesh()
	fill(t, db, m, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Append(ctx, m.next(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("Append: %v", err)
	}
	if _, err := db.Load(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Load: %v", err)
	}
	if db.Head() != 2 {
		t.Errorf("head is %d, want 2", db.Head())
	}
}
