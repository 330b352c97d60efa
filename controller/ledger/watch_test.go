package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// take waits for a head, but not for ever.
func take(t *testing.T, heads <-chan peers.Revision) (rev peers.Revision, open bool) {
	t.Helper()
	select {
	case rev, open = <-heads:
		return rev, open
	case <-time.After(10 * time.Second):
		t.Fatal("no head comes")
		return 0, false
	}
}

func TestWatch(t *testing.T) {
	db, m := newDB(t), newMesh()
	ctx, cancel := context.WithCancel(t.Context())
	early, err := db.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case rev := <-early:
		t.Errorf("an empty ledger has head %d", rev)
	default:
	}
	for want := range peers.Revision(3) {
		fill(t, db, m, 1)
		if rev, _ := take(t, early); rev != want+1 {
			t.Errorf("head %d, want %d", rev, want+1)
		}
	}
	late, err := db.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if rev, _ := take(t, late); rev != 3 {
		t.Errorf("the late one begins with %d, want 3", rev)
	}
	fill(t, db, m, 5) // nobody reads, nobody waits
	if rev, _ := take(t, early); rev != 8 {
		t.Errorf("the early one got %d, want the latest, 8", rev)
	}
	cancel()
	if rev, open := take(t, early); open {
		t.Errorf("got %d after its end", rev)
	}
	fill(t, db, m, 1)
	if rev, _ := take(t, late); rev != 9 {
		t.Errorf("the late one got %d, want the latest, 9", rev)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if rev, open := take(t, late); open {
		t.Errorf("got %d after Close", rev)
	}
}

// TestWatchLeavesNothing ends watches in every way and counts goroutines and watchers.
func TestWatchLeavesNothing(t *testing.T) {
	db, m := newDB(t), newMesh()
	before := runtime.NumGoroutine()
	for range 50 {
		ctx, cancel := context.WithCancel(context.Background())
		heads, err := db.Watch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if runtime.NumGoroutine() > before+10 {
			t.Fatalf("%d goroutines, there were %d", runtime.NumGoroutine(), before)
		}
		fill(t, db, m, 1)
		cancel()
		for range heads {
		}
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := db.Watch(gone); err == nil {
		t.Error("a watch begins after its end")
	}
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left, there were %d", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
	if len(db.watchers) != 0 {
		t.Errorf("%d watchers are left", len(db.watchers))
	}
}

// TestResync: a change that the disk took although it did not say so in the end is noticed with the next
// one that fails.
func TestResync(t *testing.T) {
	db, m := newDB(t), newMesh()
	fill(t, db, m, 2)
	heads, err := db.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	take(t, heads)
	e := m.next(t)
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.update(t.Context(), func(s store) error { _, err := s.append(e, raw); return err }); err != nil {
		t.Fatal(err)
	}
	if err := db.Append(t.Context(), e); !errors.Is(err, peers.ErrConflict) {
		t.Fatalf("a change that is there already: %v", err)
	}
	if rev, _ := take(t, heads); rev != 3 {
		t.Errorf("head is %d, want 3", rev)
	}
}

// TestWentBack: a file that shows an older head than it had is damaged, whatever bbolt makes of it.
func TestWentBack(t *testing.T) {
	db, m := newDB(t), newMesh()
	fill(t, db, m, 2)
	db.advance(head{Revision: 3})
	if inv, err := db.Load(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("loaded %v, %v", inv, err)
	}
}
