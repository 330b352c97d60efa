package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
)

func TestSeal(t *testing.T) {
	sealed := seal("objects", []byte("mesh"), []byte("value"))
	if v, err := unseal("objects", []byte("mesh"), sealed); err != nil || string(v) != "value" {
		t.Errorf("%q, %v", v, err)
	}
	moved := map[string]func() ([]byte, error){
		"bucket":   func() ([]byte, error) { return unseal("vault", []byte("mesh"), sealed) },
		"key":      func() ([]byte, error) { return unseal("objects", []byte("mesi"), sealed) },
		"cut off":  func() ([]byte, error) { return unseal("objects", []byte("mesh"), sealed[:len(sealed)-1]) },
		"nothing":  func() ([]byte, error) { return unseal("objects", []byte("mesh"), nil) },
		"boundary": func() ([]byte, error) { return unseal("objectsm", []byte("esh"), sealed) },
	}
	for what, read := range moved {
		if v, err := read(); !errors.Is(err, ErrDamaged) {
			t.Errorf("another %s: %q, %v", what, v, err)
		}
	}
}

// FuzzUnseal: what was sealed is read back as it was, and any other byte is noticed.
func FuzzUnseal(f *testing.F) {
	f.Add([]byte("mesh"), []byte(`{"id":"m1"}`), 3, byte(1))
	f.Add([]byte{}, []byte{}, 0, byte(0xff))
	f.Fuzz(func(t *testing.T, key, value []byte, at int, flip byte) {
		sealed := seal(bucketObjects, key, value)
		if got, err := unseal(bucketObjects, key, sealed); err != nil || !bytes.Equal(got, value) {
			t.Fatalf("%q, %v; want %q", got, err, value)
		}
		if flip == 0 || at < 0 {
			return
		}
		sealed[at%len(sealed)] ^= flip
		if got, err := unseal(bucketObjects, key, sealed); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// FuzzDecode reads entries and heads of any content.
func FuzzDecode(f *testing.F) {
	m := newMesh()
	for range 4 {
		raw, err := json.Marshal(m.next(f))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"revision":1,"hash":"","objects":{"count":1,"sum":2}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		key := revisionKey(1)
		if e, err := decodeEntry(1, seal(bucketEntries, key, raw)); err == nil && e.Revision != 1 {
			t.Errorf("revision %d passes for 1", e.Revision)
		}
		var h head
		if err := decode(raw, &h); err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("unclear error: %v", err)
		}
	})
}
