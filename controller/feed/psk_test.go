package feed

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

func TestDeriverMakesTheSameKeys(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(rt, "seed"))
		secret, err := key.NewSecret(rand.NewChaCha8(seed))
		if err != nil {
			rt.Fatal(err)
		}
		id := rapid.StringMatching(`[a-z2-7]{1,20}`)
		a, b := id.Draw(rt, "a"), id.Draw(rt, "b")
		d := newDeriver(secret)
		for range 2 { // the second time with the state of the first
			got := string(d.appendBase64(nil, peers.HostID(a), peers.HostID(b)))
			if want := secret.Preshared(b, a).Expose(); got != want {
				rt.Fatalf("the key of %s and %s is %s, want %s", a, b, got, want)
			}
		}
	})
}

func TestLinesKeepTheirOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var ls lines
		for range 2 { // the second one with the buffer of the first
			var got, want bytes.Buffer
			l := ls.begin(&got)
			for _, n := range rapid.SliceOf(rapid.IntRange(0, 3*linePiece)).Draw(rt, "pieces") {
				piece := bytes.Repeat([]byte{byte('a' + n%26)}, n)
				want.Write(piece)
				if n%2 == 0 {
					l.put(piece)
				} else {
					l.text(string(piece))
				}
			}
			if err := ls.end(l); err != nil {
				rt.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want.Bytes()) {
				rt.Fatal("the pieces of a line changed their order or content")
			}
		}
	})
}
