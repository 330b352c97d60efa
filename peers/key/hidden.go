package key

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// Size is the length in bytes of every key in this package but Ed25519 private keys.
const Size = 32

// ErrMarshal is returned when a secret is about to be marshalled by accident.
var ErrMarshal = errors.New("a secret key does not marshal; call Expose where it is meant")

// hidden is 32 secret bytes. The pointer keeps fmt from printing them even where the value sits in an
// unexported field, and the zero-length array of functions makes == a compile error.
type hidden struct {
	_ [0]func()
	b *[Size]byte
}

func newHidden(r io.Reader) (hidden, error) {
	var b [Size]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return hidden{}, fmt.Errorf("read random bytes: %v", err)
	}
	return hidden{b: &b}, nil
}

func parseHidden(s string) (hidden, error) {
	b, err := decode32(s)
	if err != nil {
		return hidden{}, err
	}
	if b == ([Size]byte{}) {
		return hidden{}, errors.New("all zero")
	}
	return hidden{b: &b}, nil
}

// IsZero reports whether no key is set.
func (h hidden) IsZero() bool { return h.b == nil }

// Expose returns the secret as standard base64, the form that wg(8) uses; empty where no key is set.
// It exists for files, sockets and kernels that must have the key, and for nothing else.
func (h hidden) Expose() string {
	if h.b == nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(h.b[:])
}

// ExposeBytes returns a copy of the secret bytes; all zero where no key is set.
func (h hidden) ExposeBytes() [Size]byte {
	if h.b == nil {
		return [Size]byte{}
	}
	return *h.b
}

// Wipe overwrites the secret, in every copy of this value.
func (h hidden) Wipe() {
	if h.b != nil {
		clear(h.b[:])
	}
}

func (h hidden) equal(o hidden) bool {
	if h.b == nil || o.b == nil {
		return h.b == nil && o.b == nil
	}
	return subtle.ConstantTimeCompare(h.b[:], o.b[:]) == 1
}

// String hides the secret.
func (h hidden) String() string { return "(hidden)" }

// GoString hides the secret.
func (h hidden) GoString() string { return "(hidden)" }

// Format hides the secret whatever the verb.
func (h hidden) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(hidden)") }

// MarshalText always fails with ErrMarshal.
func (h hidden) MarshalText() ([]byte, error) { return nil, ErrMarshal }

// MarshalJSON always fails with ErrMarshal.
func (h hidden) MarshalJSON() ([]byte, error) { return nil, ErrMarshal }

// MarshalBinary always fails with ErrMarshal.
func (h hidden) MarshalBinary() ([]byte, error) { return nil, ErrMarshal }

// decode32 reads 32 bytes of canonical standard base64 with padding.
func decode32(s string) (b [Size]byte, err error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || base64.StdEncoding.EncodeToString(raw) != s {
		return b, errors.New("not standard base64")
	}
	if len(raw) != Size {
		return b, fmt.Errorf("%d bytes long, want %d", len(raw), Size)
	}
	return [Size]byte(raw), nil
}
