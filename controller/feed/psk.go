package feed

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"sync"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// A deriver makes the same keys as key.Secret.Preshared, which a test holds it to, without setting up
// HMAC each time: a mesh of a thousand hosts has a million of them to tell.
type deriver struct {
	secret [key.Size]byte
	macs   sync.Pool // of *derivation
}

type derivation struct {
	mac  hash.Hash
	info []byte
	out  []byte
}

// newDeriver copies the secret out of its hiding place; it stays within this package.
func newDeriver(s key.Secret) *deriver { return &deriver{secret: s.ExposeBytes()} }

// appendBase64 appends the pre-shared key of two hosts in base64.
func (d *deriver) appendBase64(dst []byte, a, b peers.HostID) []byte {
	w, ok := d.macs.Get().(*derivation)
	if !ok {
		w = &derivation{mac: hmac.New(sha256.New, d.secret[:])}
	}
	defer d.macs.Put(w)
	if b < a {
		a, b = b, a
	}
	w.info = append(w.info[:0], "warren/psk/1"...)
	w.info = append(append(w.info, byte(len(a))), a...)
	w.info = append(append(w.info, byte(len(b))), b...)
	w.info = append(w.info, 1) // HKDF-Expand of RFC 5869 §2.3: the first and only block
	w.mac.Reset()
	_, _ = w.mac.Write(w.info) // a hash never fails
	w.out = w.mac.Sum(w.out[:0])
	return base64.StdEncoding.AppendEncode(dst, w.out)
}
