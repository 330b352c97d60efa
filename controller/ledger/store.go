package ledger

import (
	"encoding/json"

	"github.com/warren-mesh/warren/peers"
	"go.etcd.io/bbolt"
)

// A store is the file within one transaction.
type store struct {
	meta, entries, objects, vault *bbolt.Bucket
}

func openStore(tx *bbolt.Tx) (store, error) {
	s := store{
		meta: tx.Bucket([]byte(bucketMeta)), entries: tx.Bucket([]byte(bucketEntries)),
		objects: tx.Bucket([]byte(bucketObjects)), vault: tx.Bucket([]byte(bucketVault)),
	}
	if s.meta == nil || s.entries == nil || s.objects == nil || s.vault == nil {
		return store{}, flawf("a bucket is missing")
	}
	return s, nil
}

func (s store) putMeta(key string, value []byte) error {
	return s.meta.Put([]byte(key), seal(bucketMeta, []byte(key), value))
}

func (s store) readMeta(key string, v any) error {
	sealed := s.meta.Get([]byte(key))
	if sealed == nil {
		return flawf("%s/%s is missing", bucketMeta, key)
	}
	raw, err := unseal(bucketMeta, []byte(key), sealed)
	if err != nil {
		return err
	}
	return decode(raw, v)
}

func (s store) head() (h head, err error) {
	err = s.readMeta(keyHead, &h)
	return h, err
}

func (s store) putHead(h head) error {
	raw, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return s.putMeta(keyHead, raw)
}

func (s store) vaultTally() (t tally, err error) {
	err = s.readMeta(keyVault, &t)
	return t, err
}

func (s store) putVaultTally(t tally) error {
	raw, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return s.putMeta(keyVault, raw)
}

// set puts a value into a tallied bucket, or deletes it where value is nil.
func set(b *bbolt.Bucket, t *tally, name string, key, value []byte) error {
	if old := b.Get(key); old != nil {
		t.drop(key, old)
	}
	if value == nil {
		return b.Delete(key)
	}
	sealed := seal(name, key, value)
	t.add(key, sealed)
	return b.Put(key, sealed)
}

// entry reads the entry of a revision.
func (s store) entry(rev peers.Revision) (peers.Entry, error) {
	sealed := s.entries.Get(revisionKey(rev))
	if sealed == nil {
		return peers.Entry{}, flawf("revision %d is missing", rev)
	}
	return decodeEntry(rev, sealed)
}

func decodeEntry(rev peers.Revision, sealed []byte) (peers.Entry, error) {
	raw, err := unseal(bucketEntries, revisionKey(rev), sealed)
	if err != nil {
		return peers.Entry{}, err
	}
	e, err := peers.DecodeEntry(raw)
	if err != nil {
		return peers.Entry{}, flawf("revision %d: %v", rev, err)
	}
	if e.Revision != rev {
		return peers.Entry{}, flawf("revision %d says that it is %d", rev, e.Revision)
	}
	return e, nil
}
