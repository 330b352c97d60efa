package agent_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// TestGenerationHasItsTurn: a host begins with a new generation when it is its turn, not at once, and no later.
func TestGenerationHasItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for i := range 9 {
			r.c.AddHost(fmt.Sprintf("host%d", i), fmt.Sprintf("198.51.100.%d:51820", i+1))
		}
		r.member()
		r.c.Apply(peers.StartGeneration{Number: 2})
		began := time.Now()
		p, err := r.c.Inventory().Plan(r.status().ID)
		if err != nil {
			t.Fatal(err)
		}
		r.eventually("there is a key", 3*time.Second, func() bool {
			return strings.Contains(r.log.String(), `"made a private key" generation=2`)
		})
		turn, waited := p.BuildAfter(), time.Since(began)
		if waited < turn || waited > turn+20*time.Millisecond {
			t.Errorf("began after %v, and its turn was after %v", waited, turn)
		}
	})
}
