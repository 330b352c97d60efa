package peers_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// starting is a host that has to start the handshake of a new generation with its one peer.
func starting(t *testing.T) *roaming {
	t.Helper()
	r := newRoaming(t, three[0])
	inv := after(t, &peers.Inventory{}, createMesh(), createToken("t", "shop"), enroll("t", "warehouse"), enroll("t", "shop"),
		peers.StartGeneration{Number: 2},
		peers.UpdateHost{ID: idOf("shop"), Keys: keysOf("shop", 1, 2)}, peers.UpdateHost{ID: idOf("warehouse"), Keys: keysOf("warehouse", 1, 2)})
	r.p = planOf(t, inv, "shop")
	r.k = applied(t, r.p)
	r.k.links["wrn1"].peers[privateOf("warehouse", 1).Public()].LastHandshake = epoch
	return r
}

// taken lets time pass in steps of half a second and gives what was done about the new generation.
func (r *roaming) taken(d time.Duration) (out []string) {
	r.t.Helper()
	for range int(2 * d / time.Second) {
		r.now = r.now.Add(time.Second / 2)
		var steps []peers.Step
		steps, r.attempts = peers.Roam(r.k.state(), r.p, r.attempts, r.now)
		for _, s := range steps {
			if err := r.k.apply(s); err != nil {
				r.t.Fatal(err)
			}
			what := "keepalive"
			if set, ok := s.(peers.SetPeer); !ok {
				what = "del"
			} else if set.New {
				what = "add"
			}
			out = append(out, r.now.Sub(epoch).String()+" "+what)
		}
	}
	return out
}

// TestStartAgain: a first message that was lost is followed by another before WireGuard's own patience ends, a few times,
// and the peer has all that it had.
func TestStartAgain(t *testing.T) {
	r := starting(t)
	before := r.k.links["wrn0"].peers[privateOf("warehouse", 2).Public()]
	got := strings.Join(r.taken(7*time.Second), ", ")
	if want := "2s keepalive, 3.5s del, 3.5s add, 5s del, 5s add, 6.5s del, 6.5s add"; got != want {
		t.Errorf("done %s, want %s", got, want)
	}
	is := r.k.links["wrn0"].peers[privateOf("warehouse", 2).Public()]
	if is == nil || !is.PSK.Equal(before.PSK) || is.Endpoint != before.Endpoint || !slices.Equal(is.Allowed, before.Allowed) || is.Keepalive == 0 {
		t.Errorf("the peer was %+v and is %+v", before, is)
	}
	if steps := peers.Diff(r.k.state(), r.p); len(steps) > 0 {
		t.Errorf("left to do: %v", steps)
	}
}

// TestStartOnce: a peer that has answered is left alone, and so is one to which traffic goes.
func TestStartOnce(t *testing.T) {
	r := starting(t)
	r.taken(2500 * time.Millisecond)
	r.k.links["wrn0"].peers[privateOf("warehouse", 2).Public()].LastHandshake = r.now
	if got := r.taken(5 * time.Second); len(got) > 0 {
		t.Errorf("it has answered, and was done: %v", got)
	}
	r.k.links["wrn0"].peers[privateOf("warehouse", 2).Public()].LastHandshake = r.now.Add(-time.Hour)
	if got := strings.Join(r.taken(5*time.Second), ", "); strings.Contains(got, "del") {
		t.Errorf("it has answered once, and was done: %v", got)
	}
	r = starting(t)
	r.p = r.p.Route(idOf("warehouse"))
	if got := strings.Join(r.taken(7*time.Second), ", "); strings.Contains(got, "del") {
		t.Errorf("traffic goes there, and was done: %v", got)
	}
}
