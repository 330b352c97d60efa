package key

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// An Identity is the Ed25519 public key (RFC 8032) that says who a host, an admin or a controller is.
type Identity [ed25519.PublicKeySize]byte

const identityPrefix = "wid1"

// ParseIdentity reads the form that String writes.
func ParseIdentity(s string) (Identity, error) {
	body, ok := strings.CutPrefix(s, identityPrefix)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if !ok || err != nil || len(raw) != ed25519.PublicKeySize || base64.RawURLEncoding.EncodeToString(raw) != body {
		return Identity{}, fmt.Errorf("%.12q… is no identity: want %s and 43 letters of base64url", s, identityPrefix)
	}
	return Identity(raw), nil
}

// IsZero reports whether no identity is set.
func (i Identity) IsZero() bool { return i == Identity{} }

// String is "wid1" and the key in base64url.
func (i Identity) String() string { return identityPrefix + base64.RawURLEncoding.EncodeToString(i[:]) }

// MarshalText is String, or nothing for no identity.
func (i Identity) MarshalText() ([]byte, error) {
	if i.IsZero() {
		return nil, nil
	}
	return []byte(i.String()), nil
}

// UnmarshalText is ParseIdentity; the empty text is no identity.
func (i *Identity) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*i = Identity{}
		return nil
	}
	*i, err = ParseIdentity(string(text))
	return err
}

// Fingerprint names the identity in 16 letters: the first 80 bits of its SHA-256 in lower-case base32.
// It is the host id, which therefore cannot be kept while the identity behind it is swapped.
func (i Identity) Fingerprint() string {
	sum := sha256.Sum256(i[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

// Verify reports whether signature is one of i's over message.
func (i Identity) Verify(message, signature []byte) bool {
	return ed25519.Verify(i[:], message, signature)
}

// An IdentityKey is the private half of an Identity.
type IdentityKey struct {
	hidden // the seed of RFC 8032 §5.1.5
}

// NewIdentityKey makes an identity from 32 bytes of r, which must be cryptographically random.
func NewIdentityKey(r io.Reader) (IdentityKey, error) {
	h, err := newHidden(r)
	return IdentityKey{h}, err
}

// ParseIdentityKey reads the form that Expose writes. The error never contains the input.
func ParseIdentityKey(s string) (IdentityKey, error) {
	h, err := parseHidden(s)
	if err != nil {
		return IdentityKey{}, fmt.Errorf("identity key: %v", err)
	}
	return IdentityKey{h}, nil
}

// Signer returns the key as the standard library wants it, for TLS.
func (k IdentityKey) Signer() crypto.Signer { return ed25519.NewKeyFromSeed(k.b[:]) }

// Identity returns the public half; the zero identity for no key.
func (k IdentityKey) Identity() Identity {
	if k.IsZero() {
		return Identity{}
	}
	return Identity(ed25519.NewKeyFromSeed(k.b[:])[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
}

// Sign signs message. It must not be called on the zero key.
func (k IdentityKey) Sign(message []byte) []byte {
	return ed25519.Sign(ed25519.NewKeyFromSeed(k.b[:]), message)
}

// Equal compares in constant time.
func (k IdentityKey) Equal(o IdentityKey) bool { return k.equal(o.hidden) }
