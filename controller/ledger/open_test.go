package ledger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestSecondController opens a database that is open, in this process as in another one.
func TestSecondController(t *testing.T) {
	db, m := newDB(t), newMesh()
	fill(t, db, m, 1)
	start := time.Now()
	second, err := Open(db.path, Options{})
	if !errors.Is(err, ErrLocked) {
		t.Fatalf("opened twice: %v, %v", second, err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %v to notice", took)
	}
	if !strings.Contains(err.Error(), db.path) || !strings.Contains(err.Error(), "another controller") {
		t.Errorf("unclear error: %v", err)
	}
	fill(t, db, m, 1)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if head := openDB(t, db.path).Head(); head != 2 {
		t.Errorf("head is %d, want 2", head)
	}
}

// TestHandOver: who waits gets the database as soon as it is let go, as when a service restarts.
func TestHandOver(t *testing.T) {
	db := newDB(t)
	var wg sync.WaitGroup
	var next *DB
	var err error
	wg.Go(func() { next, err = Open(db.path, Options{Wait: time.Minute}) })
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}

// TestReplacedMeanwhile: who has waited for a file that is no longer the one at its path takes the new one.
func TestReplacedMeanwhile(t *testing.T) {
	db, m := newDB(t), newMesh()
	fill(t, db, m, 3)
	other := newDB(t)
	if err := errors.Join(db.Close(), other.Close()); err != nil {
		t.Fatal(err)
	}
	waited, err := os.OpenFile(other.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer waited.Close()
	if same, err := settle(t.Context(), waited, other.path); err != nil || !same {
		t.Errorf("before: %v, %v", same, err)
	}
	if err := os.Rename(db.path, other.path); err != nil {
		t.Fatal(err)
	}
	if same, err := settle(t.Context(), waited, other.path); err != nil || same {
		t.Errorf("after: %v, %v", same, err)
	}
	if head := openDB(t, other.path).Head(); head != 3 {
		t.Errorf("head is %d, want 3", head)
	}
}

// TestCreateRace makes one database from several sides at once: one has it, the others are told so.
func TestCreateRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "warren.db")
	var wg sync.WaitGroup
	dbs, errs := make([]*DB, 4), make([]error, 4)
	for i := range dbs {
		wg.Go(func() { dbs[i], errs[i] = Open(path, Options{Wait: 100 * time.Millisecond}) })
	}
	wg.Wait()
	won := 0
	for i := range dbs {
		if errs[i] == nil {
			won++
			fill(t, dbs[i], newMesh(), 1)
			if err := dbs[i].Close(); err != nil {
				t.Error(err)
			}
		} else if !errors.Is(errs[i], ErrLocked) {
			t.Error(errs[i])
		}
	}
	if won != 1 {
		t.Errorf("%d have it, want 1", won)
	}
	if head := openDB(t, path).Head(); head != 1 {
		t.Errorf("head is %d, want 1", head)
	}
}

func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "warren.db")
	if _, err := Open(path, Options{MustExist: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("MustExist: %v", err)
	}
	copyBytes(t, path+".new", []byte("what a killed process left"))
	openDB(t, path)
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("there are %v, %v", entries, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode is %v, %v; want 0600", info.Mode(), err)
	}
}

// TestMode: a file that others may read, after a restore with cp, is theirs no longer.
func TestMode(t *testing.T) {
	db := newDB(t)
	if err := errors.Join(db.Close(), os.Chmod(db.path, 0o644)); err != nil {
		t.Fatal(err)
	}
	openDB(t, db.path)
	if info, err := os.Stat(db.path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode is %v, %v; want 0600", info.Mode(), err)
	}
}

func TestNoFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nowhere")
	_, err := Open(filepath.Join(dir, "warren.db"), Options{})
	if err == nil || !strings.Contains(err.Error(), "there is no folder "+dir) {
		t.Errorf("unclear error: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is there now: %v", err)
	}
}

// TestMayNotWrite runs as somebody who may write neither to the folder nor to the file.
func TestMayNotWrite(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "warren-ledger-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cmd := child(t, "forbidden")
	cmd.Env = append(cmd.Env, "WARREN_LEDGER_TEST_PATH="+dir)
	if os.Geteuid() == 0 {
		exe := filepath.Join(dir, "test")
		raw, err := os.ReadFile(cmd.Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(exe, raw, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Dir = exe, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	db := openDB(t, filepath.Join(dir, "warren.db"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(db.path, 0o400), os.Chmod(dir, 0o555)); err != nil {
		t.Fatal(err)
	}
	runChild(t, cmd)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

func childMayNotWrite(t *testing.T) {
	dir := os.Getenv("WARREN_LEDGER_TEST_PATH")
	for _, name := range []string{"warren.db", "other.db"} {
		path := filepath.Join(dir, name)
		db, err := Open(path, Options{})
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), path) ||
			!strings.Contains(hintOf(err), "must be writable") {
			t.Errorf("%s: %v, %v", name, db, err)
		}
	}
}
