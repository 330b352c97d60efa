package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestVault(t *testing.T) {
	db := newDB(t)
	if _, err := db.Fetch(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Fetch of nothing: %v", err)
	}
	values := map[string][]byte{"a": []byte("1"), "empty": {}, "nil": nil, "big": make([]byte, 100_000)}
	if err := db.Put(t.Context(), values); err != nil {
		t.Fatal(err)
	}
	if err := db.Put(t.Context(), map[string][]byte{"a": []byte("2")}); err != nil {
		t.Fatal(err)
	}
	values["a"] = []byte("2")
	if err := db.Destroy(t.Context(), "never there"); err != nil {
		t.Error(err)
	}
	check := func(db *DB) {
		t.Helper()
		for name, want := range values {
			if got, err := db.Fetch(t.Context(), name); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is %q, %v; want %q", name, got, err, want)
			}
		}
	}
	check(db)
	if err := db.Destroy(t.Context(), "big"); err != nil {
		t.Fatal(err)
	}
	delete(values, "big")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := openDB(t, db.path)
	check(again)
	if _, err := again.Fetch(t.Context(), "big"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("destroyed value: %v", err)
	}
}

func TestVaultRefuses(t *testing.T) {
	db := newDB(t)
	good := map[string][]byte{"good": []byte("x"), "": []byte("y")}
	if err := db.Put(t.Context(), good); err == nil {
		t.Error("a value without a name is stored")
	}
	if _, err := db.Fetch(t.Context(), "good"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half of a refused Put is stored: %v", err)
	}
}

// mustBeNowhere looks for bytes in every file of a folder.
func mustBeNowhere(t *testing.T, dir string, secret []byte) {
	t.Helper()
	if where := find(t, dir, secret); where != "" {
		t.Errorf("%q is still in %s", secret, where)
	}
}

func find(t *testing.T, dir string, secret []byte) (where string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if i := bytes.Index(raw, secret); i >= 0 {
			where = fmt.Sprintf("%s at byte %d of %d", path, i, len(raw))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return where
}

// TestDestroy stores a secret among others, lets its page be copied around, and destroys it.
func TestDestroy(t *testing.T) {
	db, m := newDB(t), newMesh()
	dir := filepath.Dir(db.path)
	for _, size := range []int{24, 3000, 50_000} { // within a page, a page of its own, several
		secret := bytes.Repeat([]byte("<the secret of generation 1>"), size/28+1)
		if err := db.Put(t.Context(), map[string][]byte{"secret": secret}); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			if err := db.Put(t.Context(), map[string][]byte{fmt.Sprint("report/", i%5): make([]byte, 300)}); err != nil {
				t.Fatal(err)
			}
			fill(t, db, m, 1)
		}
		if find(t, dir, secret[:28]) == "" {
			t.Fatal("the test looks in the wrong place")
		}
		if err := db.Destroy(t.Context(), "secret"); err != nil {
			t.Fatal(err)
		}
		mustBeNowhere(t, dir, secret[:28])
		if err := db.Verify(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := openDB(t, db.path).Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestDestroyGoesOn cuts Destroy short between its two halves.
func TestDestroyGoesOn(t *testing.T) {
	db := newDB(t)
	secret := []byte("<the secret of generation 1>")
	if err := db.Put(t.Context(), map[string][]byte{"secret": secret}); err != nil {
		t.Fatal(err)
	}
	if err := db.bury(t.Context(), "secret"); err != nil {
		t.Fatal(err)
	}
	if find(t, filepath.Dir(db.path), secret) == "" {
		t.Fatal("there is nothing left to do")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := openDB(t, db.path)
	mustBeNowhere(t, filepath.Dir(db.path), secret)
	if _, err := again.Fetch(t.Context(), "secret"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	c, err := check(again.file, 1<<20)
	if err != nil || c.scrub {
		t.Errorf("Open has not noted that it is done: %+v, %v", c, err)
	}
}

// TestDestroyWaits: a Destroy that has to wait for a Snapshot gives up with its context.
func TestDestroyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &DB{heavy: make(chan struct{}, 1)}
		db.heavy <- struct{}{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := db.Destroy(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
