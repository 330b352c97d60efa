package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/warren-mesh/warren/peers"
)

// Append adds the entry, and the objects as they are after it, in one transaction. The error wraps
// peers.ErrConflict where the entry does not follow on the head. After any other error the change was
// not made, unless the disk failed at the very last moment: Load says what holds.
func (db *DB) Append(ctx context.Context, e peers.Entry) error {
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode revision %d: %v", e.Revision, err)
	}
	var next head
	err = db.update(ctx, func(s store) error {
		next, err = s.append(e, raw)
		return err
	})
	if err != nil {
		db.resync(ctx)
		return explain(db.path, err)
	}
	db.advance(next)
	return nil
}

func (s store) append(e peers.Entry, raw []byte) (head, error) {
	h, err := s.head()
	if err != nil {
		return h, err
	}
	if e.Revision != h.Revision+1 || e.Prev != h.Hash {
		return h, fmt.Errorf("revision %d does not follow on %v: %w", e.Revision, h, peers.ErrConflict)
	}
	if err := e.Follows(h.Revision, h.Hash); err != nil {
		return h, err
	}
	for _, o := range e.Objects {
		if err := set(s.objects, &h.Objects, bucketObjects, []byte(o.Key), o.After); err != nil {
			return h, fmt.Errorf("object %.80q: %w", o.Key, err)
		}
	}
	h.Revision, h.Hash = e.Revision, e.Hash
	key := revisionKey(e.Revision)
	s.entries.FillPercent = 0.95 // keys only grow, so a page that is left behind gets no more
	if err := s.entries.Put(key, seal(bucketEntries, key, raw)); err != nil {
		return h, err
	}
	return h, s.putHead(h)
}

// resync looks what holds after a failed change: where the disk could not confirm the last of its writes,
// the change is there all the same.
func (db *DB) resync(ctx context.Context) {
	_ = db.view(context.WithoutCancel(ctx), func(s store) error {
		h, err := s.head()
		if err == nil {
			db.advance(h)
		}
		return err
	})
}

// Load puts the inventory at the head together from its objects; it has revision 0 where there is none.
func (db *DB) Load(ctx context.Context) (*peers.Inventory, error) {
	var inv *peers.Inventory
	err := db.view(ctx, func(s store) (err error) {
		inv, err = s.load()
		return err
	})
	if err != nil {
		return nil, explain(db.path, err)
	}
	return inv, nil
}

func (s store) load() (*peers.Inventory, error) {
	h, err := s.head()
	if err != nil {
		return nil, err
	}
	if h.Revision > 0 {
		if err := s.chain(h, 1); err != nil {
			return nil, err
		}
	}
	objects := make(map[string]json.RawMessage, h.Objects.Count)
	if err := s.eachObject(h, func(key string, value []byte) { objects[key] = bytes.Clone(value) }); err != nil {
		return nil, err
	}
	inv, err := peers.Load(h.Revision, h.Hash, objects)
	if err != nil {
		return nil, flawf("%v", err)
	}
	return inv, nil
}

// eachObject visits all objects, which must be those that belong to the head.
func (s store) eachObject(h head, visit func(key string, value []byte)) error {
	var got tally
	err := s.objects.ForEach(func(key, sealed []byte) error {
		value, err := unseal(bucketObjects, key, sealed)
		if err != nil {
			return err
		}
		got.add(key, sealed)
		visit(string(key), value)
		return nil
	})
	if err == nil && got != h.Objects {
		err = flawf("its %d objects are not those of %v", got.Count, h)
	}
	return err
}

// chain holds the last entries, at most n, against their hashes and each other, and the last one against
// the head.
func (s store) chain(h head, n peers.Revision) error {
	if h.Revision == 0 {
		return nil
	}
	first := max(1, h.Revision-min(h.Revision, n)+1)
	e, err := s.entry(first)
	if err != nil {
		return err
	}
	prev := e.Prev
	for rev := first; ; {
		if err := e.Follows(rev-1, prev); err != nil {
			return flawf("%v", err)
		}
		if rev == h.Revision {
			break
		}
		prev = e.Hash
		rev++
		if e, err = s.entry(rev); err != nil {
			return err
		}
	}
	if e.Hash != h.Hash {
		return flawf("%v is not the head that was written", h)
	}
	return nil
}

const (
	batchEntries = 256     // that Read takes out of the file at once
	batchBytes   = 1 << 20 // or so many bytes, whichever comes first
)

// Read gives the entries with a revision > after, in order, up to the head; those that are appended
// meanwhile too. Each is held against its checksum and names the hash of the one before; what an entry's
// hash says is for Verify. The file is not kept busy while the caller looks at an entry.
func (db *DB) Read(ctx context.Context, after peers.Revision) iter.Seq2[peers.Entry, error] {
	return func(yield func(peers.Entry, error) bool) {
		after := after
		var prev *peers.Hash
		for {
			var batch []peers.Entry
			err := db.view(ctx, func(s store) (err error) {
				batch, err = s.batch(after)
				return err
			})
			for _, e := range batch {
				if prev != nil && e.Prev != *prev {
					err = flawf("revision %d does not name the hash of the one before", e.Revision)
					break
				}
				if !yield(e, nil) {
					return
				}
				prev, after = &e.Hash, e.Revision
			}
			if err != nil {
				yield(peers.Entry{}, explain(db.path, err))
				return
			}
			if len(batch) == 0 {
				return
			}
		}
	}
}

// batch reads the next entries, up to the first that is not right.
func (s store) batch(after peers.Revision) (batch []peers.Entry, err error) {
	c := s.entries.Cursor()
	size := 0
	for key, sealed := c.Seek(revisionKey(after + 1)); key != nil; key, sealed = c.Next() {
		rev := after + peers.Revision(len(batch)) + 1
		if !bytes.Equal(key, revisionKey(rev)) {
			return batch, flawf("revision %d is missing", rev)
		}
		e, err := decodeEntry(rev, sealed)
		if err != nil {
			return batch, err
		}
		batch = append(batch, e)
		if size += len(sealed); len(batch) == batchEntries || size >= batchBytes {
			break
		}
	}
	return batch, nil
}
