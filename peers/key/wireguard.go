package key

import (
	"crypto/ecdh"
	"encoding/base64"
	"fmt"
	"io"
)

// A Public is a WireGuard public key: a Curve25519 point (RFC 7748).
type Public [Size]byte

// ParsePublic reads the base64 form that wg(8) prints.
func ParsePublic(s string) (Public, error) {
	b, err := decode32(s)
	if err != nil {
		return Public{}, fmt.Errorf("public key %.8q…: %v", s, err)
	}
	return Public(b), nil
}

// IsZero reports whether no key is set.
func (p Public) IsZero() bool { return p == Public{} }

// String is the base64 form that wg(8) prints.
func (p Public) String() string { return base64.StdEncoding.EncodeToString(p[:]) }

// MarshalText is String, or nothing for no key.
func (p Public) MarshalText() ([]byte, error) {
	if p.IsZero() {
		return nil, nil
	}
	return []byte(p.String()), nil
}

// UnmarshalText is ParsePublic; the empty text is no key.
func (p *Public) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*p = Public{}
		return nil
	}
	*p, err = ParsePublic(string(text))
	return err
}

// A Private is a WireGuard private key: a clamped Curve25519 scalar (RFC 7748 §5).
type Private struct {
	hidden
	public Public // computed once, because it takes a while
}

// NewPrivate makes a private key from 32 bytes of r, which must be cryptographically random.
func NewPrivate(r io.Reader) (Private, error) {
	h, err := newHidden(r)
	if err != nil {
		return Private{}, err
	}
	h.b[0] &= 248
	h.b[31] = h.b[31]&127 | 64
	return Private{h, publicOf(h)}, nil
}

// ParsePrivate reads the form that Expose writes. The error never contains the input.
func ParsePrivate(s string) (Private, error) {
	h, err := parseHidden(s)
	if err != nil {
		return Private{}, fmt.Errorf("private key: %v", err)
	}
	return Private{h, publicOf(h)}, nil
}

// publicOf computes a public key.
func publicOf(h hidden) Public {
	// NewPrivateKey fails on a wrong length only, which the type rules out.
	k, err := ecdh.X25519().NewPrivateKey(h.b[:])
	if err != nil {
		return Public{}
	}
	return Public(k.PublicKey().Bytes())
}

// Public returns the public key that belongs to p; the zero key for no key.
func (p Private) Public() Public { return p.public }

// Equal compares in constant time.
func (p Private) Equal(o Private) bool { return p.equal(o.hidden) }

// A Preshared is a WireGuard pre-shared key of one pair of hosts and one generation.
type Preshared struct{ hidden }

// ParsePreshared reads the form that Expose writes. The error never contains the input.
func ParsePreshared(s string) (Preshared, error) {
	h, err := parseHidden(s)
	if err != nil {
		return Preshared{}, fmt.Errorf("pre-shared key: %v", err)
	}
	return Preshared{h}, nil
}

// PresharedFromBytes takes the bytes that a kernel read back; all zero means no key.
func PresharedFromBytes(b [Size]byte) Preshared {
	if b == ([Size]byte{}) {
		return Preshared{}
	}
	return Preshared{hidden{b: &b}}
}

// Equal compares in constant time.
func (p Preshared) Equal(o Preshared) bool { return p.equal(o.hidden) }
