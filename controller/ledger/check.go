package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/warren-mesh/warren/peers"
)

// contents is what a check of a whole file found.
type contents struct {
	format string
	head   head
	vault  tally // as the file says
	scrub  bool
}

// check reads a whole file and gives what is in it, or the first thing that is wrong with it.
func check(r io.ReaderAt, size int64) (contents, error) {
	im, err := openImage(r, size)
	if err != nil {
		return contents{}, err
	}
	buckets, err := im.buckets()
	if err != nil {
		return contents{}, err
	}
	c, err := im.meta(buckets)
	if err != nil {
		return contents{}, err
	}
	if err := im.entries(buckets, c.head.Revision); err != nil {
		return contents{}, err
	}
	if err := im.tallied(buckets, bucketObjects, c.head.Objects); err != nil {
		return contents{}, err
	}
	if err := im.tallied(buckets, bucketVault, c.vault); err != nil {
		return contents{}, err
	}
	return c, im.freelist()
}

// buckets reads the buckets of the file, which must be ours and no others.
func (im *image) buckets() (map[string]bucket, error) {
	buckets := map[string]bucket{}
	err := im.tree(im.top.root, func(key, value []byte, flags uint32) error {
		if flags != flagBucket {
			return flawf("record %.80q is outside of all buckets", key)
		}
		buckets[string(key)] = bytes.Clone(value)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range allBuckets() {
		if buckets[name] == nil {
			return nil, flawf("bucket %s is missing", name)
		}
	}
	return buckets, nil
}

func allBuckets() []string { return []string{bucketMeta, bucketEntries, bucketObjects, bucketVault} }

// sealed visits the values of a bucket, each held against its checksum.
func (im *image) sealed(buckets map[string]bucket, name string, v func(key, value, sealed []byte) error) error {
	return buckets[name].records(im, func(key, sealed []byte, flags uint32) error {
		if flags != 0 {
			return flawf("%s/%.80q is a bucket", name, key)
		}
		value, err := unseal(name, key, sealed)
		if err != nil {
			return err
		}
		return v(key, value, sealed)
	})
}

// meta reads the bucket that says what the others must hold. It refuses other formats before anything
// else is judged by the rules of this one.
func (im *image) meta(buckets map[string]bucket) (contents, error) {
	values := map[string][]byte{}
	err := im.sealed(buckets, bucketMeta, func(key, value, _ []byte) error {
		values[string(key)] = bytes.Clone(value)
		return nil
	})
	if err != nil {
		return contents{}, err
	}
	c := contents{format: string(values[keyFormat])}
	if c.format != format {
		return c, formatError(c.format)
	}
	if len(buckets) != len(allBuckets()) {
		return c, flawf("it has %d buckets, want %d", len(buckets), len(allBuckets()))
	}
	_, c.scrub = values[keyScrub]
	return c, errors.Join(decode(values[keyHead], &c.head), decode(values[keyVault], &c.vault))
}

// entries holds the keys of the entries against what they must be: 1, 2, 3 … up to the head.
func (im *image) entries(buckets map[string]bucket, last peers.Revision) error {
	var rev peers.Revision
	err := im.sealed(buckets, bucketEntries, func(key, _, _ []byte) error {
		rev++
		if len(key) != 8 || binary.BigEndian.Uint64(key) != uint64(rev) {
			return flawf("revision %d is missing", rev)
		}
		return nil
	})
	if err == nil && rev != last {
		err = flawf("it has %d revisions, but its head is revision %d", rev, last)
	}
	return err
}

// tallied holds all records of a bucket against what they must add up to.
func (im *image) tallied(buckets map[string]bucket, name string, want tally) error {
	var got tally
	err := im.sealed(buckets, name, func(key, _, sealed []byte) error {
		got.add(key, sealed)
		return nil
	})
	if err == nil && got != want {
		err = flawf("the %d records of %s are not those that belong to the head", got.Count, name)
	}
	return err
}
