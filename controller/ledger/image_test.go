package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestCheckAccepts holds the strict reading of the format against bbolt itself: whatever it writes, with
// values of all sizes that come and go, in trees of several levels, the check accepts.
func TestCheckAccepts(t *testing.T) {
	n := 0
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n))
		db, err := Open(path, Options{pageSize: rapid.SampledFrom([]int{1024, 4096}).Draw(t, "page size")})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = errors.Join(db.Close(), os.Remove(path)) }()
		db.bolt.NoSync = true
		want := map[string][]byte{}
		for range rapid.IntRange(1, 30).Draw(t, "rounds") {
			change(t, db, want)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := check(db.file, info.Size()); err != nil {
				t.Fatalf("after %d values: %v", len(want), err)
			}
		}
		for name, v := range want {
			if got, err := db.Fetch(t.Context(), name); err != nil || !bytes.Equal(got, v) {
				t.Fatalf("%s: %d bytes, %v; want %d", name, len(got), err, len(v))
			}
		}
	})
}

// change puts many values or destroys one.
func change(t *rapid.T, db *DB, want map[string][]byte) {
	name := rapid.StringMatching(`[a-z]{1,3}(/[a-z0-9]{1,60})?`)
	if len(want) > 0 && rapid.IntRange(0, 4).Draw(t, "destroy") == 0 {
		gone := rapid.SampledFrom(sorted(want)).Draw(t, "name")
		if err := db.Destroy(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		delete(want, gone)
		return
	}
	values := map[string][]byte{}
	sizes := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 9000))
	for range rapid.IntRange(1, 60).Draw(t, "values") {
		k := name.Draw(t, "name")
		values[k] = make([]byte, sizes.Draw(t, "size"))
		want[k] = values[k]
	}
	if err := db.Put(t.Context(), values); err != nil {
		t.Fatal(err)
	}
}

func sorted(m map[string][]byte) []string { return slices.Sorted(maps.Keys(m)) }

// FuzzCheck reads files of any content: an error, or contents, but no panic and no end of memory.
func FuzzCheck(f *testing.F) {
	raw, err := os.ReadFile(smallFile(f))
	if err != nil {
		f.Fatal(err)
	}
	t, err := newestTop(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		f.Fatal(err)
	}
	raw = raw[:int64(t.high)*t.pageSize] // the rest is room to grow
	f.Add(raw, 0, []byte{})
	for at := 0; at < len(raw); at += 4099 {
		f.Add(raw, at, []byte{0xff, 0xff, 0, 1})
	}
	f.Add([]byte{}, 0, []byte{})
	f.Fuzz(func(t *testing.T, file []byte, at int, over []byte) {
		file = bytes.Clone(file)
		if at >= 0 && at < len(file) {
			copy(file[at:], over)
		}
		if _, err := check(bytes.NewReader(file), int64(len(file))); err != nil &&
			!errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
			t.Errorf("unclear error: %v", err)
		}
	})
}
