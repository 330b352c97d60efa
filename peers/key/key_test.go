package key

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

// constant is random bytes that are all the same.
type constant byte

func (c constant) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c)
	}
	return len(p), nil
}

func unhex(t *testing.T, s string) [Size]byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != Size {
		t.Fatal(s, err)
	}
	return [Size]byte(b)
}

func base64Of(b [Size]byte) string { return base64.StdEncoding.EncodeToString(b[:]) }

// TestX25519 is Bob's key of the test vector in RFC 7748 §6.1.
func TestX25519(t *testing.T) {
	bob, err := ParsePrivate(base64Of(unhex(t, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")))
	if err != nil {
		t.Fatal(err)
	}
	want := Public(unhex(t, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"))
	if bob.Public() != want {
		t.Errorf("public key %v, want %v", bob.Public(), want)
	}
}

// TestEd25519 is test 2 of RFC 8032 §7.1.
func TestEd25519(t *testing.T) {
	k, err := ParseIdentityKey(base64Of(unhex(t, "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")))
	if err != nil {
		t.Fatal(err)
	}
	id := k.Identity()
	if want := unhex(t, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"); id != want {
		t.Errorf("identity %x, want %x", id[:], want)
	}
	signature := k.Sign([]byte{0x72})
	const want = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da" +
		"085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
	if hex.EncodeToString(signature) != want {
		t.Errorf("signature %x", signature)
	}
	if !id.Verify([]byte{0x72}, signature) || id.Verify([]byte{0x73}, signature) || id.Verify([]byte{0x72}, nil) ||
		(Identity{}).Verify([]byte{0x72}, signature) {
		t.Error("signatures are told apart wrongly")
	}
	if public, ok := k.Signer().Public().(ed25519.PublicKey); !ok || !bytes.Equal(public, id[:]) {
		t.Error("the signer has another key")
	}
}

// TestPreshared holds the derivation against the standard library's HKDF.
func TestPreshared(t *testing.T) {
	s, err := NewSecret(constant(7))
	if err != nil {
		t.Fatal(err)
	}
	info := "warren/psk/1\x04shop\x09warehouse"
	want, err := hkdf.Expand(sha256.New, bytes.Repeat([]byte{7}, 32), info, Size)
	if err != nil {
		t.Fatal(err)
	}
	d := s.Deriver()
	for range 2 { // a deriver can be used again
		for _, got := range []Preshared{
			s.Preshared("shop", "warehouse"), s.Preshared("warehouse", "shop"),
			d.Preshared("shop", "warehouse"), d.Preshared("warehouse", "shop"),
		} {
			if b := got.ExposeBytes(); !bytes.Equal(b[:], want) {
				t.Errorf("%x, want %x", b, want)
			}
		}
		for _, other := range []Preshared{d.Preshared("shopw", "arehouse"), d.Preshared("shop", "shop"), d.Preshared("", "")} {
			if other.Equal(s.Preshared("shop", "warehouse")) {
				t.Error("other hosts have the same pre-shared key")
			}
		}
	}
	if !(Secret{}).Preshared("a", "b").IsZero() {
		t.Error("no secret makes a pre-shared key")
	}
}

// TestPublicIsComputedOnce: a private key knows its public half, so that nobody pays for it again and again.
func TestPublicIsComputedOnce(t *testing.T) {
	k, err := NewPrivate(constant(7))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(10, func() { _ = k.Public() }); n > 0 {
		t.Errorf("it computes its public key again, with %v allocations", n)
	}
}

func TestNewPrivateIsClamped(t *testing.T) {
	for _, c := range []constant{0, 0xff, 0x55} {
		k, err := NewPrivate(c)
		if err != nil {
			t.Fatal(err)
		}
		b := k.ExposeBytes()
		if b[0]&7 != 0 || b[31]&0xc0 != 0x40 {
			t.Errorf("%x is not clamped", b)
		}
	}
}

func TestNoRandomness(t *testing.T) {
	short := func() io.Reader { return io.LimitReader(constant(1), 31) }
	_, err1 := NewPrivate(short())
	_, err2 := NewSecret(short())
	_, err3 := NewIdentityKey(short())
	for _, err := range []error{err1, err2, err3} {
		if err == nil {
			t.Error("a key is made of 31 bytes")
		}
	}
}

// TestParse reads each kind of key from what Expose or String writes, and nothing else.
func TestParse(t *testing.T) {
	zero := base64Of([Size]byte{})
	good := base64Of([Size]byte{31: 1})
	secret := func(expose func(string) (string, error)) func(string) (string, error) { return expose }
	kinds := map[string]func(string) (string, error){
		"private": secret(func(s string) (string, error) { k, err := ParsePrivate(s); return k.Expose(), err }),
		"psk":     secret(func(s string) (string, error) { k, err := ParsePreshared(s); return k.Expose(), err }),
		"secret":  secret(func(s string) (string, error) { k, err := ParseSecret(s); return k.Expose(), err }),
		"seed":    secret(func(s string) (string, error) { k, err := ParseIdentityKey(s); return k.Expose(), err }),
		"public": func(s string) (string, error) {
			k, err := ParsePublic(s)
			return k.String(), err
		},
	}
	for name, parse := range kinds {
		if got, err := parse(good); err != nil || got != good {
			t.Errorf("%s: %q, %v; want %q", name, got, err, good)
		}
		for _, bad := range []string{
			"", "AAAA", good[:43], good + "A", good[:42] + "B=", good[:20] + "\n" + good[20:], strings.ToLower(good) + "-",
			good + good, "_" + good[1:], " " + good,
		} {
			got, err := parse(bad)
			if err == nil {
				t.Errorf("%s: %q is read as %q", name, bad, got)
			}
			if name != "public" && len(bad) > 8 && err != nil && strings.Contains(err.Error(), bad[:8]) {
				t.Errorf("%s: the error tells the key: %v", name, err)
			}
		}
		if _, err := parse(zero); (err == nil) != (name == "public") {
			t.Errorf("%s: zero: %v", name, err)
		}
	}
}

func TestParseIdentity(t *testing.T) {
	k, err := NewIdentityKey(constant(3))
	if err != nil {
		t.Fatal(err)
	}
	id := k.Identity()
	if got, err := ParseIdentity(id.String()); err != nil || got != id {
		t.Errorf("%v, %v", got, err)
	}
	s := id.String()
	for _, bad := range []string{
		"", "wid1", s[:46], s + "A", s[4:], "wid2" + s[4:], s[:46] + "=", s[:20] + "\n" + s[20:], s + "\n",
	} {
		if got, err := ParseIdentity(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
	if f := id.Fingerprint(); len(f) != 16 || strings.ToLower(f) != f {
		t.Errorf("fingerprint %q", f)
	}
	if (Identity{}).Fingerprint() == id.Fingerprint() {
		t.Error("two identities have one fingerprint")
	}
}

// TestPublicText: public keys and identities as JSON, also as keys of maps and where there is none.
func TestPublicText(t *testing.T) {
	k, err := NewIdentityKey(constant(3))
	if err != nil {
		t.Fatal(err)
	}
	type pair struct {
		Public   Public
		Identity Identity
	}
	for _, want := range []pair{{}, {Public{1}, k.Identity()}} {
		raw, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := pair{Public{9}, Identity{9}}
		if err := json.Unmarshal(raw, &got); err != nil || got != want {
			t.Errorf("%s is read as %+v, %v", raw, got, err)
		}
	}
	for _, bad := range []string{`{"Public":"AAAA"}`, `{"Identity":"wid1"}`, `{"Public":7}`} {
		if err := json.Unmarshal([]byte(bad), &pair{}); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

func TestEqual(t *testing.T) {
	same := func(c constant) Preshared {
		var b [Size]byte
		_, _ = c.Read(b[:])
		return PresharedFromBytes(b)
	}
	a, b, other, none := same(1), same(1), same(2), same(0)
	if !a.Equal(b) || a.Equal(other) || a.Equal(none) || none.Equal(a) || !none.Equal(Preshared{}) || !none.IsZero() {
		t.Error("pre-shared keys are told apart wrongly")
	}
	p, err := NewPrivate(constant(1))
	if err != nil {
		t.Fatal(err)
	}
	q, err := ParsePrivate(p.Expose())
	if err != nil || !p.Equal(q) || p.Equal(Private{}) {
		t.Error("private keys are told apart wrongly")
	}
	i, err := NewIdentityKey(constant(1))
	if err != nil {
		t.Fatal(err)
	}
	if j, err := ParseIdentityKey(i.Expose()); err != nil || !i.Equal(j) || i.Equal(IdentityKey{}) {
		t.Error("identity keys are told apart wrongly")
	}
}

func TestZero(t *testing.T) {
	if !(Private{}).IsZero() || !(Private{}).Public().IsZero() || (Private{}).Expose() != "" ||
		(Private{}).ExposeBytes() != [Size]byte{} || !(IdentityKey{}).Identity().IsZero() {
		t.Error("no key is one")
	}
	(Private{}).Wipe()
}

// TestWipe: a wiped key is gone from all copies of the value.
func TestWipe(t *testing.T) {
	k, err := NewPrivate(constant(9))
	if err != nil {
		t.Fatal(err)
	}
	again := k
	again.Wipe()
	if k.ExposeBytes() != [Size]byte{} {
		t.Error("a copy is left")
	}
}

func TestErrMarshal(t *testing.T) {
	k, err := NewPrivate(constant(9))
	if err != nil {
		t.Fatal(err)
	}
	_, text := k.MarshalText()
	_, js := k.MarshalJSON()
	_, binary := k.MarshalBinary()
	for _, err := range []error{text, js, binary} {
		if !errors.Is(err, ErrMarshal) {
			t.Errorf("marshals: %v", err)
		}
	}
}

// FuzzParse reads keys of any text: what is read is written the same.
func FuzzParse(f *testing.F) {
	f.Add(base64Of([Size]byte{31: 1}))
	f.Add("wid1" + base64.RawURLEncoding.EncodeToString(make([]byte, 32)))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParsePublic(s); err == nil && k.String() != s {
			t.Errorf("public key %q is read as %v", s, k)
		}
		if i, err := ParseIdentity(s); err == nil && i.String() != s {
			t.Errorf("identity %q is read as %v", s, i)
		}
		if k, err := ParsePrivate(s); err == nil && (k.Expose() != s || k.Public().IsZero()) {
			t.Error("a private key is read as another one")
		}
		if k, err := ParseIdentityKey(s); err == nil && (k.Expose() != s || k.Identity().IsZero()) {
			t.Error("an identity key is read as another one")
		}
		psk, err1 := ParsePreshared(s)
		secret, err2 := ParseSecret(s)
		if (err1 == nil) != (err2 == nil) || err1 == nil && (psk.Expose() != s || secret.Expose() != s) {
			t.Error("a secret is read as another one")
		}
		var p Public
		if err := p.UnmarshalText([]byte(s)); err == nil && !p.IsZero() && p.String() != s {
			t.Errorf("public key %q is unmarshalled as %v", s, p)
		}
		var i Identity
		if err := i.UnmarshalText([]byte(s)); err == nil && !i.IsZero() && i.String() != s {
			t.Errorf("identity %q is unmarshalled as %v", s, i)
		}
	})
}
