package wire

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

const (
	tokenPrefix     = "warren1."
	maxToken        = 4096
	maxTokenAddress = 8
)

// A Token is what a host needs to enrol, in one string to paste: "warren1." and base64url of the
// binary form in Encode.
type Token struct {
	Controllers []string     // HOST:PORT, tried in this order
	Pin         key.Identity // of the controller
	ID          string       // names the token to the controller
	Secret      [32]byte     // random; the controller keeps its hash only
}

// ErrToken is wrapped by every error of ParseToken.
var ErrToken = errors.New("this is no enrolment token, or part of it is missing")

// Hash is what the controller keeps of the secret. The secret has 256 random bits, so a plain hash is
// as good as a slow one.
func (t *Token) Hash() peers.Hash { return SecretHash(t.Secret[:]) }

// SecretHash is the hash of a token's secret.
func SecretHash(secret []byte) peers.Hash {
	return sha256.Sum256(append([]byte("warren/token/1"), secret...))
}

// MatchSecret compares in constant time.
func MatchSecret(secret []byte, hash peers.Hash) bool {
	sum := SecretHash(secret)
	return subtle.ConstantTimeCompare(sum[:], hash[:]) == 1
}

// Encode writes the string to paste: pin (32 bytes), secret (32), then id and addresses, each behind
// its length in one byte, then CRC-32 (IEEE 802.3, big endian) of it all, so that a mangled token is told
// from a refused one. Addresses after the first eight are left out, and so are those with no letter or
// more than 255.
func (t *Token) Encode() string {
	var b bytes.Buffer
	b.Write(t.Pin[:])
	b.Write(t.Secret[:])
	addresses := slices.DeleteFunc(slices.Clone(t.Controllers), func(a string) bool { return a == "" || len(a) > 255 })
	for _, s := range append([]string{t.ID}, addresses[:min(len(addresses), maxTokenAddress)]...) {
		b.WriteByte(byte(len(s)))
		b.WriteString(s)
	}
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b.Bytes()))
	b.Write(sum)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b.Bytes())
}

// ParseToken reads what Encode wrote; white space around it, and line breaks inside, are forgiven.
func ParseToken(s string) (Token, error) {
	s = strings.Join(strings.Fields(s), "")
	body, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok {
		return Token{}, fmt.Errorf("%w: it does not begin with %s", ErrToken, tokenPrefix)
	}
	if len(body) > maxToken {
		return Token{}, fmt.Errorf("%w: it is too long", ErrToken)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil {
		return Token{}, fmt.Errorf("%w: it has letters that no token has", ErrToken)
	}
	if len(raw) < 2*32+4 {
		return Token{}, fmt.Errorf("%w: it is too short", ErrToken)
	}
	raw, sum := raw[:len(raw)-4], raw[len(raw)-4:]
	if binary.BigEndian.Uint32(sum) != crc32.ChecksumIEEE(raw) {
		return Token{}, fmt.Errorf("%w: its checksum is wrong", ErrToken)
	}
	t := Token{Pin: key.Identity(raw[:32]), Secret: [32]byte(raw[32:64])}
	fields, err := tokenFields(raw[64:])
	if err != nil {
		return Token{}, err
	}
	t.ID, t.Controllers = fields[0], fields[1:]
	if t.Pin.IsZero() {
		return Token{}, fmt.Errorf("%w: it does not say which controller it is of", ErrToken)
	}
	return t, nil
}

func tokenFields(rest []byte) ([]string, error) {
	var fields []string
	for len(rest) > 0 {
		n := int(rest[0])
		if n == 0 || n > len(rest)-1 {
			return nil, fmt.Errorf("%w: a field of it is cut", ErrToken)
		}
		fields = append(fields, string(rest[1:1+n]))
		rest = rest[1+n:]
	}
	if len(fields) < 2 || len(fields) > 1+maxTokenAddress {
		return nil, fmt.Errorf("%w: it names %d controller addresses", ErrToken, max(0, len(fields)-1))
	}
	return fields, nil
}

// String hides the secret.
func (t Token) String() string { return "token " + t.ID + " (secret hidden)" }

// GoString hides the secret.
func (t Token) GoString() string { return t.String() }

// Format hides the secret whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// MarshalText always fails with key.ErrMarshal: Encode is what is meant.
func (t Token) MarshalText() ([]byte, error) { return nil, key.ErrMarshal }
