package feed

import (
	"sync"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// A deriver makes the pre-shared keys of a generation for many streams at once.
type deriver struct {
	secret key.Secret
	idle   sync.Pool // of *key.Deriver, which is for one goroutine at a time
}

func newDeriver(s key.Secret) *deriver { return &deriver{secret: s} }

// appendBase64 appends the pre-shared key of two hosts in base64.
func (d *deriver) appendBase64(dst []byte, a, b peers.HostID) []byte {
	w, ok := d.idle.Get().(*key.Deriver)
	if !ok {
		w = d.secret.Deriver()
	}
	defer d.idle.Put(w)
	return w.AppendExposed(dst, string(a), string(b))
}
