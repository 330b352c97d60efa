package ledger

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/warren-mesh/warren/peers"
)

// TestKill kills a writer again and again. Each time the database opens at once, is whole, and has all
// that the writer had been told is done.
func TestKill(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	path := filepath.Join(t.TempDir(), "warren.db")
	var acked killed
	for range rounds {
		acked.run(t, path)
		db, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		acked.check(t, db)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if acked.revision < 50 || acked.destroyed == "" {
		t.Errorf("the writers only came to revision %d", acked.revision)
	}
	t.Logf("revision %d after %d kills", acked.revision, rounds)
}

// killed is what writers said they had done before they were killed.
type killed struct {
	revision       peers.Revision
	put, destroyed string
}

func (k *killed) run(t *testing.T, path string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := child(t, "write")
	cmd.Env = append(cmd.Env, "WARREN_LEDGER_TEST_PATH="+path)
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	left := 1 + rand.IntN(40)
	said := lines(r)
	for said.Scan() { // also what it had said when the signal came
		k.note(t, said.Text())
		if left--; left == 0 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || left > 0 {
		t.Fatalf("the writer ended by itself: %v", err)
	}
}

func (k *killed) note(t *testing.T, line string) {
	t.Helper()
	var rev peers.Revision
	var name string
	switch {
	case scan(line, "revision %d", &rev):
		k.revision = rev
	case scan(line, "put %s", &name):
		k.put = name
	case scan(line, "destroyed %s", &name):
		k.destroyed, k.put = name, ""
	default:
		t.Errorf("the writer said %q", line)
	}
}

func scan(line, format string, to any) bool {
	n, err := fmt.Sscanf(line, format, to)
	return n == 1 && err == nil
}

func (k *killed) check(t *testing.T, db *DB) {
	t.Helper()
	if head := db.Head(); head < k.revision || head > k.revision+1 {
		t.Errorf("head is %d, but %d was said to be done", head, k.revision)
	}
	if err := db.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if k.put != "" {
		if v, err := db.Fetch(t.Context(), k.put); err != nil && db.Head() == k.revision && k.revision%6 != 0 ||
			err == nil && !bytes.Equal(v, secretOf(k.put)) {
			t.Errorf("%s is %q, %v", k.put, v, err)
		}
	}
	if k.destroyed != "" {
		mustBeNowhere(t, filepath.Dir(db.path), secretOf(k.destroyed))
	}
}
