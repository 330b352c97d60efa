package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDiskFull runs changes into a file system with hardly any room.
func TestDiskFull(t *testing.T) {
	cmd := child(t, "full")
	ownMounts(cmd)
	cmd.Env = append(cmd.Env, "WARREN_LEDGER_TEST_PATH="+t.TempDir())
	runChild(t, cmd)
}

func childFillsDisk(t *testing.T) {
	dir := os.Getenv("WARREN_LEDGER_TEST_PATH")
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "warren.db")
	db := openDB(t, path)
	m := newMesh()
	fill(t, db, m, 20)
	if err := db.Put(t.Context(), map[string][]byte{"secret": []byte("<secret>")}); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		use := filepath.Join(dir, "filler")
		takeAllRoom(t, use)
		before := mustEverything(t, db, "secret")
		e := m.next(t)
		if !failsForRoom(t, db.Append(t.Context(), e)) {
			t.Errorf("round %d: no change fails for want of room", round)
		}
		failsForRoom(t, db.Put(t.Context(), map[string][]byte{"big": make([]byte, 20000)}))
		if after := mustEverything(t, db, "secret"); after != before {
			t.Errorf("round %d: a failed change left something behind", round)
		}
		if err := db.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		if err := os.Remove(use); err != nil {
			t.Fatal(err)
		}
		if err := db.Append(t.Context(), e); err != nil {
			t.Errorf("round %d: with room again: %v", round, err)
		}
		fill(t, db, m, 3)
	}
	want := mustEverything(t, db, "secret")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := openDB(t, path)
	if got := mustEverything(t, again, "secret"); got != want {
		t.Error("the database is another one after it was opened again")
	}
	if err := again.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	creationFails(t, dir)
}

// creationFails makes a database where there is no room for one: there must be nothing afterwards.
func creationFails(t *testing.T, dir string) {
	t.Helper()
	takeAllRoom(t, filepath.Join(dir, "filler"))
	path := filepath.Join(dir, "second.db")
	if db, err := Open(path, Options{}); !errors.Is(err, ErrFull) {
		t.Errorf("made a database without room: %v, %v", db, err)
	}
	for _, name := range []string{path, path + ".new"} {
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left behind: %v", name, err)
		}
	}
}

// failsForRoom reports whether err is the one for want of room; any other is wrong.
func failsForRoom(t *testing.T, err error) bool {
	t.Helper()
	// The controller, which does not know this package, looks for the cause.
	if err != nil && (!errors.Is(err, ErrFull) || !errors.Is(err, unix.ENOSPC)) {
		t.Errorf("unclear error: %v", err)
	}
	return err != nil
}

// TestFullByText: bbolt tells only in words why it cannot grow the file.
func TestFullByText(t *testing.T) {
	err := explain("warren.db", fromBolt(fmt.Errorf("file resize error: %s", unix.EDQUOT)))
	if !errors.Is(err, ErrFull) || !errors.Is(err, unix.EDQUOT) {
		t.Error(err)
	}
	for _, other := range []error{nil, ErrClosed, unix.ENOSPC} {
		if got := fromBolt(other); !errors.Is(got, other) || got != nil && got.Error() != other.Error() {
			t.Errorf("%v became %v", other, got)
		}
	}
}

func takeAllRoom(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = fmt.Fprintf(f, "%4096d", 0)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}
