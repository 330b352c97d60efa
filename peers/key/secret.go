package key

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
)

// A Secret is the secret of one generation, from which the controller derives the pre-shared key of
// every pair of hosts. Destroying it destroys all of them.
type Secret struct{ hidden }

// NewSecret makes a secret from 32 bytes of r, which must be cryptographically random.
func NewSecret(r io.Reader) (Secret, error) {
	h, err := newHidden(r)
	return Secret{h}, err
}

// ParseSecret reads the form that Expose writes. The error never contains the input.
func ParseSecret(s string) (Secret, error) {
	h, err := parseHidden(s)
	if err != nil {
		return Secret{}, fmt.Errorf("secret of a generation: %v", err)
	}
	return Secret{h}, nil
}

// Preshared derives the pre-shared key of the hosts a and b, in either order. See Deriver.
func (s Secret) Preshared(a, b string) Preshared { return s.Deriver().Preshared(a, b) }

// A Deriver makes the pre-shared keys of many pairs from one secret. It is for one goroutine at a time.
type Deriver struct {
	mac  hash.Hash // nil where there is no secret
	info []byte
	out  [Size]byte
}

// Deriver begins the making of pre-shared keys.
func (s Secret) Deriver() *Deriver {
	if s.IsZero() {
		return &Deriver{}
	}
	return &Deriver{mac: hmac.New(sha256.New, s.b[:]), info: make([]byte, 0, 64)}
}

// Preshared derives the pre-shared key of the hosts a and b, in either order, by HKDF-SHA256 (RFC 5869);
// no key where there is no secret. The secret is uniformly random, so the extract step is left out as
// RFC 5869 §3.3 allows; of the expand step (§2.3) the first block is all that is needed. The info string
// is "warren/psk/1" and the two host ids in ascending order, each behind a byte with its length.
func (d *Deriver) Preshared(a, b string) Preshared {
	if d.mac == nil {
		return Preshared{}
	}
	var out [Size]byte
	d.derive(out[:0], a, b)
	return Preshared{hidden{b: &out}}
}

// AppendExposed appends what Preshared(a, b).Expose() gives, without a copy on the heap: a controller tells
// a mesh of a thousand hosts a million of them.
func (d *Deriver) AppendExposed(dst []byte, a, b string) []byte {
	if d.mac == nil {
		return dst
	}
	return base64.StdEncoding.AppendEncode(dst, d.derive(d.out[:0], a, b))
}

// derive appends the key to dst.
func (d *Deriver) derive(dst []byte, a, b string) []byte {
	if b < a {
		a, b = b, a
	}
	info := append(d.info[:0], "warren/psk/1"...)
	info = append(append(info, byte(len(a))), a...)
	info = append(append(info, byte(len(b))), b...)
	info = append(info, 1) // the number of the block
	d.mac.Reset()
	_, _ = d.mac.Write(info) // a hash never fails
	d.info = info
	return d.mac.Sum(dst)
}
