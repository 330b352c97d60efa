package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/warren-mesh/warren/peers"
)

// Buckets of the file.
const (
	bucketMeta    = "meta"    // format, head, vault, scrub
	bucketEntries = "entries" // revision, big endian → JSON of peers.Entry
	bucketObjects = "objects" // key of the object → its JSON at the head
	bucketVault   = "vault"   // name → secret
)

// Keys of bucketMeta.
const (
	keyFormat = "format" // the version of all this
	keyHead   = "head"   // a head
	keyVault  = "vault"  // the tally of bucketVault
	keyScrub  = "scrub"  // there while free pages may hold what was destroyed
)

const format = "1"

const checksumSize = 4

// seal puts a checksum before a value: CRC-32C (RFC 3720 §12.1) over bucket, key and value, so that a
// value is also noticed where it does not belong.
func seal(bucket string, key, value []byte) []byte {
	sealed := make([]byte, checksumSize, checksumSize+len(value))
	binary.BigEndian.PutUint32(sealed, checksum(bucket, key, value))
	return append(sealed, value...)
}

// unseal gives the value, which lies within sealed, and holds it against its checksum.
func unseal(bucket string, key, sealed []byte) ([]byte, error) {
	if len(sealed) < checksumSize {
		return nil, flawf("%s/%.80q has no checksum", bucket, key)
	}
	value := sealed[checksumSize:]
	if checksum(bucket, key, value) != binary.BigEndian.Uint32(sealed) {
		return nil, flawf("%s/%.80q does not have its checksum", bucket, key)
	}
	return value, nil
}

func checksum(bucket string, key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, []byte(bucket))
	sum = crc32.Update(sum, table, binary.BigEndian.AppendUint32(nil, uint32(len(key))))
	sum = crc32.Update(sum, table, key)
	return crc32.Update(sum, table, value)
}

// revisionKey is the key of an entry; its order is that of the revisions.
func revisionKey(rev peers.Revision) []byte { return binary.BigEndian.AppendUint64(nil, uint64(rev)) }

// A tally says how many records a bucket has and what they add up to, so that one which is missing, or
// is there as it once was, is noticed: its own checksum cannot tell.
type tally struct {
	Count uint64 `json:"count"`
	Sum   uint64 `json:"sum"` // of digest over all records, modulo 2^64
}

func (t *tally) add(key, sealed []byte)  { t.Count, t.Sum = t.Count+1, t.Sum+digest(key, sealed) }
func (t *tally) drop(key, sealed []byte) { t.Count, t.Sum = t.Count-1, t.Sum-digest(key, sealed) }

func digest(key, sealed []byte) uint64 {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(key))))
	h.Write(key)
	h.Write(sealed)
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// A head is where the ledger stands.
type head struct {
	Revision peers.Revision `json:"revision"`
	Hash     peers.Hash     `json:"hash"`
	Objects  tally          `json:"objects"`
}

func (h head) String() string { return fmt.Sprintf("revision %d", h.Revision) }

// decode reads one JSON value with no unknown fields: what this version does not know was written by
// nobody, since the format would have another number.
func decode(raw []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return flawf("%v", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return flawf("more than one JSON value")
	}
	return nil
}
