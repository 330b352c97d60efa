package ledger

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"go.etcd.io/bbolt"
)

// BenchmarkAppend commits each change twice, with Append and with a bare bbolt Update of the same bytes
// under the same keys, in turns on the same disk, and reports how many times the bare one Append takes.
func BenchmarkAppend(b *testing.B) {
	db, m := newDB(b), newMesh()
	bare, err := bbolt.Open(filepath.Join(b.TempDir(), "bare.db"), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer bare.Close()
	entries, encoded := make([]peers.Entry, b.N), make([][]byte, b.N)
	for i := range entries {
		entries[i] = m.next(b)
		if encoded[i], err = json.Marshal(entries[i]); err != nil {
			b.Fatal(err)
		}
	}
	var ours, theirs time.Duration
	b.ResetTimer()
	for i, e := range entries {
		start := time.Now()
		if err := db.Append(b.Context(), e); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		if err := bareAppend(bare, e, encoded[i]); err != nil {
			b.Fatal(err)
		}
		ours, theirs = ours+middle.Sub(start), theirs+time.Since(middle)
	}
	b.ReportMetric(float64(ours)/float64(theirs), "x-bare")
	b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N), "append-ns")
	b.ReportMetric(float64(theirs.Nanoseconds())/float64(b.N), "bare-ns")
	b.ReportMetric(0, "ns/op")
}

func bareAppend(bare *bbolt.DB, e peers.Entry, raw []byte) error {
	return bare.Update(func(tx *bbolt.Tx) error {
		put := func(bucket string, key, value []byte) error {
			b, err := tx.CreateBucketIfNotExists([]byte(bucket))
			if err != nil {
				return err
			}
			return b.Put(key, value)
		}
		for _, o := range e.Objects {
			if err := put(bucketObjects, []byte(o.Key), o.After); err != nil {
				return err
			}
		}
		if err := put(bucketMeta, []byte(keyHead), e.Hash[:]); err != nil {
			return err
		}
		return put(bucketEntries, revisionKey(e.Revision), raw)
	})
}

// BenchmarkOpen opens a database of 100,000 entries, which reads and checks all of it.
func BenchmarkOpen(b *testing.B) {
	const entries = 100_000
	path := filepath.Join(b.TempDir(), "warren.db")
	db := openDB(b, path)
	db.bolt.NoSync = true
	fill(b, db, newMesh(), entries)
	if err := errors.Join(db.bolt.Sync(), db.Close()); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		db, err := Open(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB")
}
