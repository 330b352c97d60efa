package store_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
)

// damages are what power failures, full disks and tired flash do to a file.
func damages() map[string]func([]byte) []byte {
	return map[string]func([]byte) []byte{
		"empty":       func([]byte) []byte { return nil },
		"truncated":   func(b []byte) []byte { return b[:len(b)-1] },
		"half":        func(b []byte) []byte { return b[:len(b)/2] },
		"header only": func(b []byte) []byte { return b[:strings.IndexByte(string(b), '\n')+1] },
		"zeroed":      func(b []byte) []byte { return make([]byte, len(b)) },
		"bit flipped": func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
		"first bit":   func(b []byte) []byte { b[0] ^= 1; return b },
		"last bit":    func(b []byte) []byte { b[len(b)-1] ^= 0x80; return b },
		"longer":      func(b []byte) []byte { return append(b, 0) },
		"newer":       func(b []byte) []byte { return []byte(strings.Replace(string(b), " 1 sha256", " 2 sha256", 1)) },
		"other kind":  func(b []byte) []byte { return []byte(strings.Replace(string(b), "warren ", "warren x", 1)) },
	}
}

func damage(t *testing.T, path string, how func([]byte) []byte) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Not in place: the file may have a second name.
	if err := errors.Join(os.Remove(path), os.WriteFile(path, how(raw), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func isDamaged(err error) bool { return errors.As(err, new(*store.Damaged)) }

func TestDamageIsNoticed(t *testing.T) {
	readers := map[string]func(*store.Store) error{
		"identity":   func(s *store.Store) error { _, err := s.Identity(); return err },
		"membership": func(s *store.Store) error { _, err := s.Membership(); return err },
		"enrolment":  func(s *store.Store) error { _, err := s.Enrolment(); return err },
		"key-1":      func(s *store.Store) error { _, err := s.Keys(); return err },
	}
	for file, read := range readers {
		for name, how := range damages() {
			t.Run(file+"/"+name, func(t *testing.T) {
				dir := t.TempDir()
				s := open(t, dir)
				fill(t, s)
				if err := read(s); err != nil {
					t.Fatalf("before: %v", err)
				}
				damage(t, filepath.Join(dir, file), how)
				if err := read(s); !isDamaged(err) || !strings.Contains(err.Error(), file) {
					t.Errorf("got %v, want Damaged that names the file", err)
				}
				// Nobody makes a new one in its place.
				if _, err := s.MakeIdentity(); err == nil {
					t.Error("an identity was made beside the old one")
				}
				if _, err := s.MakeKey(1); err == nil {
					t.Error("a key was made in place of the old one")
				}
			})
		}
	}
}

func TestDamagedPlanFallsBack(t *testing.T) {
	for name, how := range damages() {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			fill(t, s)
			damage(t, filepath.Join(dir, "plan"), how)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir)
			kept, err := s.Plan()
			if err != nil || kept.Plan.Revision != 1 || !isDamaged(kept.Fallback) {
				t.Fatalf("revision %d, fallback %v, %v; want 1 and why", kept.Plan.Revision, kept.Fallback, err)
			}
			// The damaged one must not push the good one out.
			if err := s.PutPlan(plan(t, 3), peers.Hash{3}); err != nil {
				t.Fatal(err)
			}
			damage(t, filepath.Join(dir, "plan"), how)
			if kept, err := s.Plan(); err != nil || kept.Plan.Revision != 1 {
				t.Errorf("after another write: revision %d, %v; want 1", kept.Plan.Revision, err)
			}
			damage(t, filepath.Join(dir, "plan.previous"), how)
			if _, err := s.Plan(); !isDamaged(err) {
				t.Errorf("with both damaged: %v", err)
			}
		})
	}
}

func TestLostPlanFallsBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s)
	if err := os.Remove(filepath.Join(dir, "plan")); err != nil {
		t.Fatal(err)
	}
	kept, err := s.Plan()
	if err != nil || kept.Plan.Revision != 1 || !errors.Is(kept.Fallback, fs.ErrNotExist) {
		t.Errorf("revision %d, fallback %v, %v", kept.Plan.Revision, kept.Fallback, err)
	}
}

// TestFullDisk fills a disk to the last byte: nothing that was there is lost, and it works again afterwards.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,nr_inodes=64"); err != nil {
		t.Skipf("no tmpfs of its own for this test: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	data := filepath.Join(dir, "data")
	s := open(t, data)
	fill(t, s)
	id, err := s.Identity()
	if err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	full := os.WriteFile(ballast, make([]byte, 1<<20), 0o600)
	if !store.IsFull(full) {
		t.Fatalf("the disk is not full: %v", full)
	}
	for what, err := range map[string]error{
		"plan":       s.PutPlan(plan(t, 9), peers.Hash{9}),
		"membership": s.PutMembership(membership()),
		"enrolment":  s.PutEnrolment(store.Enrolment{Token: "another"}),
		"key":        func() error { _, err := s.MakeKey(2); return err }(),
	} {
		if !store.IsFull(err) {
			t.Errorf("%s: %v, want that the disk is full", what, err)
		}
	}
	kept, err := s.Plan()
	again, errIdentity := s.Identity()
	e, errEnrolment := s.Enrolment()
	if err := errors.Join(err, errIdentity, errEnrolment); err != nil || kept.Plan.Revision != 2 || kept.Fallback != nil {
		t.Errorf("after: revision %d, fallback %v, %v", kept.Plan.Revision, kept.Fallback, err)
	}
	if !again.Equal(id) || e.Token != "t" {
		t.Errorf("after: another identity or token %q", e.Token)
	}
	if keys, err := s.Keys(); err != nil || len(keys) != 1 {
		t.Errorf("after: keys %v, %v", keys, err)
	}
	if left, err := filepath.Glob(filepath.Join(data, "*.tmp")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := s.PutPlan(plan(t, 9), peers.Hash{9}); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if kept, err := s.Plan(); err != nil || kept.Plan.Revision != 9 {
		t.Errorf("with room again: revision %d, %v", kept.Plan.Revision, err)
	}
}

// TestReadOnlyDisk: an agent that is a member runs on from a disk that has become read-only; one that is none
// says at once what is the matter.
func TestReadOnlyDisk(t *testing.T) {
	for _, member := range []bool{true, false} {
		t.Run(fmt.Sprintf("member %v", member), func(t *testing.T) {
			dir := t.TempDir()
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
				t.Skipf("no tmpfs of its own for this test: %v", err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
			s := open(t, dir)
			if member {
				fill(t, s)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
			s, err := store.Open(dir)
			if !member {
				if !errors.Is(err, syscall.EROFS) {
					t.Errorf("got %v, want that it is read-only", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if kept, err := s.Plan(); err != nil || kept.Plan.Revision != 2 {
				t.Errorf("revision %d, %v", kept.Plan.Revision, err)
			}
			if err := s.PutPlan(plan(t, 3), peers.Hash{}); !errors.Is(err, syscall.EROFS) {
				t.Errorf("write: %v, want that it is read-only", err)
			}
		})
	}
}
