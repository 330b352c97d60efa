package ledger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSnapshot copies a database and opens the copy.
func TestSnapshot(t *testing.T) {
	for name, open := range map[string]func() (*DB, error){
		"small pages": func() (*DB, error) { return Open(smallFile(t), Options{}) },
		"empty":       func() (*DB, error) { return Open(filepath.Join(t.TempDir(), "warren.db"), Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			db, err := open()
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			var copied bytes.Buffer
			if err := db.Snapshot(&copied); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "copy.db")
			copyBytes(t, path, copied.Bytes())
			again := openDB(t, path)
			if got, want := mustEverything(t, again), mustEverything(t, db); got != want {
				t.Error("the copy is another one")
			}
			m := newMesh()
			if m.inv, err = again.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			m.n = int(m.inv.Revision)
			fill(t, again, m, 3)
			if err := again.Verify(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSnapshotForgets: what was replaced or deleted is still in the file, but in no copy of it.
func TestSnapshotForgets(t *testing.T) {
	db := newDB(t)
	secret := []byte("<the old secret>")
	for _, v := range [][]byte{secret, []byte("<the new secret>")} {
		if err := db.Put(t.Context(), map[string][]byte{"secret": v}); err != nil {
			t.Fatal(err)
		}
	}
	if find(t, filepath.Dir(db.path), secret) == "" {
		t.Fatal("the test looks in the wrong place")
	}
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "copy.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Snapshot(f), f.Close()); err != nil {
		t.Fatal(err)
	}
	mustBeNowhere(t, dir, secret)
	if find(t, dir, []byte("<the new secret>")) == "" {
		t.Error("the copy lacks what it should have")
	}
}

// slowWriter takes the first part of a copy, says so, and takes the rest when it is told to.
type slowWriter struct {
	bytes.Buffer
	began, goOn chan struct{}
	once        bool
}

func (w *slowWriter) Write(p []byte) (int, error) {
	if !w.once {
		w.once = true
		close(w.began)
		<-w.goOn
	}
	return w.Buffer.Write(p)
}

// TestSnapshotSlow: changes and reads go on while somebody takes a copy slowly, and the copy is that of
// its beginning.
func TestSnapshotSlow(t *testing.T) {
	db, m := newDB(t), newMesh()
	fill(t, db, m, 30)
	want := mustEverything(t, db)
	w := &slowWriter{began: make(chan struct{}), goOn: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- db.Snapshot(w) }()
	<-w.began
	begin := time.Now()
	fill(t, db, m, 300)
	mustEverything(t, db)
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("changes take %v beside a copy", took)
	}
	close(w.goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	copyBytes(t, path, w.Bytes())
	if got := mustEverything(t, openDB(t, path)); got != want {
		t.Error("the copy is not that of its beginning")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("tape torn") }

func TestSnapshotFails(t *testing.T) {
	db, m := newDB(t), newMesh()
	fill(t, db, m, 3)
	if err := db.Snapshot(brokenWriter{}); err == nil || !strings.Contains(err.Error(), "tape torn") {
		t.Errorf("a copy that nobody takes: %v", err)
	}
	fill(t, db, m, 1)
	if err := db.Destroy(t.Context(), "x"); err != nil {
		t.Errorf("after a failed copy: %v", err)
	}
}
