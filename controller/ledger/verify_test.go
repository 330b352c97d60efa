package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/peers"
	"go.etcd.io/bbolt"
)

// forge writes into a database as somebody who knows its checksums.
func forge(t *testing.T, path string, change func(s store) error) {
	t.Helper()
	f, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = f.Update(func(tx *bbolt.Tx) error {
		s, err := openStore(tx)
		if err != nil {
			return err
		}
		return change(s)
	})
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// forgeEntry changes one entry and gives it a right checksum.
func forgeEntry(s store, rev peers.Revision, change func(*peers.Entry)) error {
	e, err := s.entry(rev)
	if err != nil {
		return err
	}
	change(&e)
	raw, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return s.entries.Put(revisionKey(rev), seal(bucketEntries, revisionKey(rev), raw))
}

// forgeObjects changes the objects and makes the head say that it is right so.
func forgeObjects(s store, change func(t *tally) error) error {
	h, err := s.head()
	if err != nil {
		return err
	}
	return errors.Join(change(&h.Objects), s.putHead(h))
}

// TestForged changes a database with all checksums right. What lies within the last entries, Open finds;
// everything, Verify finds.
func TestForged(t *testing.T) {
	mesh := []byte("mesh")
	cases := map[string]func(s store) error{
		"old entry": func(s store) error {
			return forgeEntry(s, 2, func(e *peers.Entry) { e.By = "admin:eve" })
		},
		"last entry": func(s store) error {
			return forgeEntry(s, 1100, func(e *peers.Entry) { e.Why = "no reason" })
		},
		"head": func(s store) error {
			h, err := s.head()
			h.Hash[0]++
			return errors.Join(err, s.putHead(h))
		},
		"object": func(s store) error {
			return forgeObjects(s, func(t *tally) error {
				v, err := unseal(bucketObjects, mesh, s.objects.Get(mesh))
				v = bytes.Replace(v, []byte(`"mtu":1420`), []byte(`"mtu":1280`), 1)
				return errors.Join(err, set(s.objects, t, bucketObjects, mesh, v))
			})
		},
		"object gone": func(s store) error {
			return forgeObjects(s, func(t *tally) error { return set(s.objects, t, bucketObjects, mesh, nil) })
		},
		"object too many": func(s store) error {
			return forgeObjects(s, func(t *tally) error {
				return set(s.objects, t, bucketObjects, []byte("site/eve"), []byte(`{"name":"eve"}`))
			})
		},
	}
	db, m := newDB(t), newMesh()
	db.bolt.NoSync = true
	fill(t, db, m, chainAtOpen+100)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/warren.db"
			copyFile(t, db.path, path)
			forge(t, path, change)
			forged, err := Open(path, Options{})
			if name == "last entry" || name == "head" {
				if !errors.Is(err, ErrDamaged) {
					t.Errorf("Open: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer forged.Close()
			if err := forged.Verify(t.Context()); !errors.Is(err, ErrDamaged) {
				t.Errorf("Verify: %v", err)
			}
		})
	}
}

// TestStale puts records back as they once were, or takes them away: each of them has its checksum, but
// all of them together are not what they should be.
func TestStale(t *testing.T) {
	db, m := newDB(t), newMesh()
	entries := fill(t, db, m, 10)
	var first, last peers.ObjectChange // of one host
	for _, e := range entries {
		for _, o := range e.Objects {
			if last.Key == "" && strings.HasPrefix(o.Key, "host/") || last.Key == o.Key {
				first, last = last, o
			}
		}
	}
	for _, v := range []string{"old", "new"} {
		if err := db.Put(t.Context(), map[string][]byte{"secret": []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	host, secret := []byte(last.Key), []byte("secret")
	for name, change := range map[string]func(s store) error{
		"object as it was": func(s store) error { return s.objects.Put(host, seal(bucketObjects, host, first.After)) },
		"object gone":      func(s store) error { return s.objects.Delete(host) },
		"secret as it was": func(s store) error { return s.vault.Put(secret, seal(bucketVault, secret, []byte("old"))) },
		"secret gone":      func(s store) error { return s.vault.Delete(secret) },
		"entry gone":       func(s store) error { return s.entries.Delete(revisionKey(5)) },
		"last entry gone":  func(s store) error { return s.entries.Delete(revisionKey(10)) },
		"entry too many": func(s store) error {
			return s.entries.Put(revisionKey(11), seal(bucketEntries, revisionKey(11), []byte("{}")))
		},
	} {
		path := t.TempDir() + "/warren.db"
		copyFile(t, db.path, path)
		forge(t, path, change)
		if stale, err := Open(path, Options{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: opened %v, %v", name, stale, err)
		}
	}
}

// TestVerifyCancelled: a Verify of a big ledger ends with its context.
func TestVerifyCancelled(t *testing.T) {
	db, m := newDB(t), newMesh()
	fill(t, db, m, 5)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Verify(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestVerifyBesideAppend verifies while changes go on.
func TestVerifyBesideAppend(t *testing.T) {
	db, m := newDB(t), newMesh()
	db.bolt.NoSync = true
	fill(t, db, m, 300)
	done := make(chan error, 1)
	go func() { done <- db.Verify(t.Context()) }()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
			if m.n < 3000 {
				fill(t, db, m, 1)
			}
		}
	}
}
