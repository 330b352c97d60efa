package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// smallFile makes a database with small pages, so that a few entries already give branches, pages that
// go on in others, buckets within and without their record, and free pages.
func smallFile(t testing.TB) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "warren.db")
	db, err := Open(path, Options{pageSize: 1024})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, db, newMesh(), 7)
	for i := range 8 {
		name := fmt.Sprintf("secret/%d", i)
		if err := db.Put(t.Context(), map[string][]byte{name: bytes.Repeat([]byte{byte(i)}, 150)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// use opens a file that may be damaged and gives all that is in it.
func use(ctx context.Context, path string) (string, error) {
	db, err := Open(path, Options{MustExist: true})
	if err != nil {
		return "", err
	}
	all, err := everything(ctx, db, "secret/0", "secret/4", "secret/7")
	return all, errors.Join(err, db.Close())
}

// TestEveryByte damages every byte of a small file in turn: the outcome is a clear error, or exactly what
// was written, and then the database goes on to work. The check that Open makes sees each byte alone; the
// database is opened with one in a hundred of the flips that the check refuses, and with all that it lets
// pass, 32 at once.
func TestEveryByte(t *testing.T) {
	path := smallFile(t)
	want, err := use(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f := flipper{t: t, path: path, raw: raw, want: want}
	if f.contents, err = check(bytes.NewReader(raw), int64(len(raw))); err != nil {
		t.Fatal(err)
	}
	var refused, harmless []int
	for _, at := range places(t, raw) {
		if f.check(at, 1<<(at%8)) && f.check(at, 0xff) {
			harmless = append(harmless, at)
		} else {
			refused = append(refused, at)
		}
	}
	t.Logf("%d flips are refused, %d are harmless", len(refused), len(harmless))
	if len(refused) < 5000 || len(harmless) < 1000 {
		t.Error("that is not what such a file looks like")
	}
	for i := 0; i < len(refused); i += 101 {
		f.open(refused[i : i+1])
	}
	for group := range slices.Chunk(harmless, 32) {
		f.open(group)
	}
}

// places are the bytes to damage: all of every page in use, and a few of each that is free or was never used.
func places(t *testing.T, raw []byte) (all []int) {
	t.Helper()
	top, err := newestTop(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	free, err := freePages(bytes.NewReader(raw), top)
	if err != nil {
		t.Fatal(err)
	}
	size := int(top.pageSize)
	for page := range len(raw) / size {
		unused := slices.Contains(free, uint64(page)) || page >= int(top.high)
		for at := page * size; at < (page+1)*size; at++ {
			if !unused || page < int(top.high)+3 && at%100 == 7 {
				all = append(all, at)
			}
		}
	}
	return all
}

type flipper struct {
	t        *testing.T
	path     string
	raw      []byte
	want     string
	contents contents
}

// check reports whether the check lets the file with one damaged byte pass.
func (f *flipper) check(at int, mask byte) bool {
	f.raw[at] ^= mask
	defer func() { f.raw[at] ^= mask }()
	c, err := check(bytes.NewReader(f.raw), int64(len(f.raw)))
	switch {
	case err != nil && !errors.Is(err, ErrDamaged):
		f.t.Errorf("byte %d ^ %#x: unclear error: %v", at, mask, err)
	case err == nil && c != f.contents:
		f.t.Errorf("byte %d ^ %#x gives %+v without an error", at, mask, c)
	}
	return err == nil
}

// open uses the database with damaged bytes.
func (f *flipper) open(at []int) {
	damaged := bytes.Clone(f.raw)
	for _, i := range at {
		damaged[i] ^= 0xff
	}
	copyBytes(f.t, f.path, damaged)
	got, err := use(f.t.Context(), f.path)
	switch {
	case err != nil && (!errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), f.path)):
		f.t.Errorf("bytes %d: unclear error: %v", at, err)
	case err != nil && len(at) > 1:
		f.t.Errorf("bytes %d are harmless alone, but not together: %v", at, err)
	case err == nil && got != f.want:
		f.t.Errorf("bytes %d give other data without an error", at)
	case err == nil && at[0]%5 == 0:
		f.goOn(at)
	}
}

// goOn writes to a file with damage that did no harm: it must not do any later either.
func (f *flipper) goOn(at []int) {
	db, err := Open(f.path, Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	m := newMesh()
	if m.inv, err = db.Load(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	m.n = int(m.inv.Revision)
	fill(f.t, db, m, 2)
	err = errors.Join(db.Destroy(f.t.Context(), "secret/3"), db.Verify(f.t.Context()), db.Close())
	if err == nil {
		db, err = Open(f.path, Options{})
	}
	if err == nil {
		err = errors.Join(db.Verify(f.t.Context()), db.Close())
	}
	if err != nil {
		f.t.Errorf("bytes %d did harm later: %v", at, err)
	}
}

// TestCutOff cuts the file off at every length that is not its own.
func TestCutOff(t *testing.T) {
	path := smallFile(t)
	want, err := use(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lengths := []int{0, 1, 79, 80, 512, 1023, 1024, 1103, 1104, len(raw) - 1, len(raw) - 4096}
	for n := 2048; n < 40<<10; n += 511 {
		lengths = append(lengths, n)
	}
	cut := filepath.Join(t.TempDir(), "warren.db")
	for _, n := range lengths {
		if err := os.WriteFile(cut, raw[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := use(t.Context(), cut)
		if err == nil && got != want || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%d of %d bytes: %v", n, len(raw), err)
		}
		if left, err := os.ReadFile(cut); err != nil || !bytes.Equal(left, raw[:n]) {
			t.Errorf("%d of %d bytes: Open has changed the file", n, len(raw))
		}
	}
}

func TestNotOurs(t *testing.T) {
	otherBuckets := func(path string, change func(tx *bbolt.Tx) error) {
		f, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Update(change), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct {
		name string
		make func(path string)
		want error
		says string
	}{
		{"empty", func(path string) { copyBytes(t, path, nil) }, ErrDamaged, "empty"},
		{"zeros", func(path string) { copyBytes(t, path, make([]byte, 1<<16)) }, ErrDamaged, "no database"},
		{"text", func(path string) { copyBytes(t, path, bytes.Repeat([]byte("hello\n"), 9999)) }, ErrDamaged, "no database"},
		{"folder", func(path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, nil, "is a directory"},
		{"other bbolt file", func(path string) {
			otherBuckets(path, func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("x")); return err })
		}, ErrDamaged, "bucket meta is missing"},
		{"bbolt file with nothing", func(path string) {
			otherBuckets(path, func(*bbolt.Tx) error { return nil })
		}, ErrDamaged, "bucket meta is missing"},
		{"newer format", func(path string) {
			copyFile(t, smallFile(t), path)
			otherBuckets(path, func(tx *bbolt.Tx) error {
				s, err := openStore(tx)
				if err != nil {
					return err
				}
				_, err = tx.CreateBucket([]byte("of the future"))
				return errors.Join(err, s.putMeta(keyFormat, []byte("2")))
			})
		}, ErrFormat, `its format is "2"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "warren.db")
			c.make(path)
			db, err := Open(path, Options{})
			if err == nil {
				_ = db.Close()
				t.Fatal("opened")
			}
			if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) ||
				!strings.Contains(err.Error(), path) {
				t.Errorf("%v; want it to be %v and to say %q", err, c.want, c.says)
			}
			if errors.Is(err, ErrDamaged) && !strings.Contains(hintOf(err), "put the last backup in its place") {
				t.Errorf("%v: hint %q", err, hintOf(err))
			}
		})
	}
}

// hintOf is what the program tells as a hint.
func hintOf(err error) string {
	var h interface{ Hint() string }
	if !errors.As(err, &h) {
		return ""
	}
	return h.Hint()
}

func copyBytes(t testing.TB, path string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLostTop makes the record of the last transaction unreadable. bbolt would go back to the one before.
func TestLostTop(t *testing.T) {
	path := smallFile(t)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newest := 0
	if bytes.Compare(raw[16+48:16+56], raw[1024+16+48:1024+16+56]) < 0 {
		newest = 1024
	}
	raw[newest+20] ^= 1
	copyBytes(t, path, raw)
	plain, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatalf("bbolt itself: %v", err)
	}
	if err := plain.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := use(t.Context(), path); !errors.Is(err, ErrDamaged) {
		t.Errorf("the last change is lost without an error: %v", err)
	}
}

// TestDamagedWhileOpen cuts the file off under an open database. What bbolt has mapped is no longer
// there: every use must end in an error, within a moment, and Close must still let go of the file.
func TestDamagedWhileOpen(t *testing.T) {
	for _, size := range []int64{0, 1024, 4096, 20 << 10} {
		path := smallFile(t)
		db, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		m := newMesh()
		if m.inv, err = db.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.n = int(m.inv.Revision)
		e := m.next(t)
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 3)
		go func() {
			_, err := everything(t.Context(), db, "secret/0")
			done <- err
			done <- db.Append(t.Context(), e)
			done <- db.Close()
		}()
		for _, what := range []string{"read", "Append", "Close"} {
			select {
			case err := <-done:
				if what == "read" && !errors.Is(err, ErrDamaged) {
					t.Errorf("%d bytes left: %s: %v", size, what, err)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%d bytes left: %s hangs", size, what)
			}
		}
		if again, err := Open(path, Options{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes left: opened again: %v, %v", size, again, err)
		}
	}
}
