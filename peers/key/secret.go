package key

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
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

// Preshared derives the pre-shared key of the hosts a and b, in either order, by HKDF-SHA256 (RFC 5869).
// The secret is uniformly random, so the extract step is left out as RFC 5869 §3.3 allows. The info
// string is "warren/psk/1" and the two host ids in ascending order, each behind a byte with its length.
func (s Secret) Preshared(a, b string) Preshared {
	if s.IsZero() {
		return Preshared{}
	}
	if b < a {
		a, b = b, a
	}
	info := make([]byte, 0, 64)
	info = append(info, "warren/psk/1"...)
	info = append(append(info, byte(len(a))), a...)
	info = append(append(info, byte(len(b))), b...)
	// Expand fails only on more than 255 blocks of output, or on keys too short in FIPS mode.
	out, err := hkdf.Expand(sha256.New, s.b[:], string(info), Size)
	if err != nil {
		return Preshared{}
	}
	return Preshared{hidden{b: (*[Size]byte)(out)}}
}
