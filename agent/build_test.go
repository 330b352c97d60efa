package agent_test

import (
	"fmt"
	"slices"
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
		synctest.Wait()
		r.c.AddHost("late", "198.51.100.99:51820") // has a key of the new generation
		r.eventually("there is a key", 3*time.Second, func() bool {
			return strings.Contains(r.log.String(), `"made a private key" generation=2`)
		})
		turn, waited := p.BuildAfter(), time.Since(began)
		synctest.Wait()
		set := slices.DeleteFunc(r.kernel.taken(), func(s string) bool {
			return !strings.HasPrefix(s, "wg set wrn0 peer") || !strings.Contains(s, "# late")
		})
		if len(set) != 1 || strings.Contains(set[0], "keepalive") {
			t.Errorf("a handshake was started before the others can have this host's key: %q", set)
		}
		if waited < turn || waited > turn+20*time.Millisecond {
			t.Errorf("began after %v, and its turn was after %v", waited, turn)
		}
	})
}
