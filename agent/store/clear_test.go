package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/warren-mesh/warren/agent/store"
)

// TestClear removes all of ours, whatever has become of it, and nothing else.
func TestClear(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, dir)
	fill(t, s)
	if err := s.PutLeaving(); err != nil || !s.Leaving() {
		t.Fatalf("leaving: %v", err)
	}
	if _, err := s.Heir(); err != nil {
		t.Fatal(err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "identity.former"), []byte("secret"), 0o600))
	outside := filepath.Join(t.TempDir(), "outside")
	must(t, os.WriteFile(outside, []byte("precious"), 0o600))
	must(t, os.Symlink(outside, filepath.Join(dir, "pins")))
	must(t, os.Remove(filepath.Join(dir, "identity")))
	must(t, os.MkdirAll(filepath.Join(dir, "identity", "deep"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "plan.tmp"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "tunnel-wrn0.log"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "notes"), nil, 0o600))
	left, err := s.Clear()
	if err != nil || !slices.Equal(left, []string{"notes"}) {
		t.Errorf("left %q, %v", left, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("in the directory: %v, %v", entries, err)
	}
	if raw, err := os.ReadFile(outside); err != nil || string(raw) != "precious" {
		t.Errorf("a file that a link led to: %q, %v", raw, err)
	}
	if s.Leaving() {
		t.Error("it is still about to leave")
	}
	if err := s.Remove(); err != nil {
		t.Errorf("a directory that is not empty: %v", err)
	}
	must(t, os.Remove(filepath.Join(dir, "notes")))
	for range 2 {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory: %v", err)
	}
}

// TestClearedStoreWorks: the host enrols again with the same agent.
func TestClearedStoreWorks(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s)
	if _, err := s.Clear(); err != nil {
		t.Fatal(err)
	}
	fill(t, s)
	must(t, s.Close())
	if _, err := open(t, dir).Plan(); err != nil {
		t.Error(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOpenIfThere neither makes a directory nor takes one from an agent that runs.
func TestOpenIfThere(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	if _, err := store.OpenIfThere(nowhere); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
	if _, err := os.Stat(nowhere); err == nil {
		t.Error("it was made")
	}
	dir := t.TempDir()
	open(t, dir)
	if _, err := store.OpenIfThere(dir); !errors.Is(err, store.ErrLocked) {
		t.Errorf("the directory of an agent that runs: %v", err)
	}
}
