package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/warren-mesh/warren/agent/store"
)

// TestHeir: an heir stays the same until it succeeds, and then the former identity is nowhere any more.
func TestHeir(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	old, err := s.MakeIdentity()
	must(t, err)
	if s.HasHeir() {
		t.Error("there is an heir that nobody has made")
	}
	next, err := s.Heir()
	must(t, err)
	again, err := s.Heir()
	must(t, err)
	if !s.HasHeir() || !again.Equal(next) || next.Equal(old) {
		t.Error("the heir is another one each time, or none")
	}
	if now, err := s.Identity(); err != nil || !now.Equal(old) {
		t.Errorf("the identity has changed before its time: %v", err)
	}
	must(t, s.Succeed())
	if now, err := s.Identity(); err != nil || !now.Equal(next) || s.HasHeir() {
		t.Errorf("the heir has not succeeded: %v", err)
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if raw, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil && bytes.Contains(raw, []byte(old.Expose())) {
			t.Errorf("%s still has the former identity", e.Name())
		}
	}
	if err := s.Succeed(); err == nil {
		t.Error("without an heir somebody succeeds")
	}
	if now, err := s.Identity(); err != nil || !now.Equal(next) {
		t.Errorf("which has cost the identity: %v", err)
	}
}

// TestFormerIdentityIsWiped: what a crash leaves of the former identity, the next start removes.
func TestFormerIdentityIsWiped(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "identity.former")
	must(t, os.WriteFile(path, []byte("secret"), 0o600))
	s, err := store.Open(dir)
	must(t, err)
	defer s.Close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the former identity is still there")
	}
}
