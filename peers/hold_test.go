package peers_test

import (
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
)

func TestGivingUp(t *testing.T) {
	rotating := after(t, threeSites(t), peers.StartGeneration{Number: 2})
	held := after(t, rotating, peers.HoldGeneration{Number: 2})
	checkRules(t, threeSites(t), []rule{
		{"hold the only one", peers.HoldGeneration{Number: 1}, []string{"generation-order generation/1"}},
		{"drop the only one", peers.DropGeneration{Number: 1}, []string{"generation-order generation/1"}},
	})
	checkRules(t, rotating, []rule{
		{"hold", peers.HoldGeneration{Number: 2}, nil},
		{"hold the older", peers.HoldGeneration{Number: 1}, []string{"generation-order generation/1"}},
		{"drop what is not held", peers.DropGeneration{Number: 2}, []string{"generation-order generation/2"}},
		{"release what is not held", peers.ReleaseGeneration{Number: 2}, []string{"generation-order generation/2"}},
	})
	checkRules(t, held, []rule{
		{"hold twice", peers.HoldGeneration{Number: 2}, []string{"generation-order generation/2"}},
		{"release", peers.ReleaseGeneration{Number: 2}, nil},
		{"drop", peers.DropGeneration{Number: 2}, nil},
		{"drop the older", peers.DropGeneration{Number: 1}, []string{"generation-order generation/1"}},
		{"end the rotation", peers.RetireGeneration{Number: 1}, []string{"generation-held generation/2"}},
	})
	checkRules(t, after(t, held, peers.ReleaseGeneration{Number: 2}), []rule{
		{"end the rotation", peers.RetireGeneration{Number: 1}, nil},
	})
	checkRules(t, after(t, held, peers.DropGeneration{Number: 2}), []rule{
		{"the same number again", peers.StartGeneration{Number: 2}, []string{"generation-order generation/2"}},
		{"the other slot", peers.StartGeneration{Number: 3}, []string{"generation-order generation/3"}},
		{"the next", peers.StartGeneration{Number: 4}, nil},
		{"a key of it", peers.UpdateHost{ID: idOf("shop"), Keys: keysOf("shop", 2)}, []string{"key-generation host/shop/keys"}},
	})
	twice := after(t, held, peers.DropGeneration{Number: 2}, peers.StartGeneration{Number: 4}, peers.HoldGeneration{Number: 4},
		peers.DropGeneration{Number: 4}, peers.StartGeneration{Number: 6}, peers.RetireGeneration{Number: 1})
	if next := twice.Mesh.NextGeneration(); next != 7 {
		t.Errorf("after two that were given up and one that was not comes %d", next)
	}
}

// TestLastRotation: for the schedule a rotation that was given up counts as one.
func TestLastRotation(t *testing.T) {
	inv := after(t, threeSites(t), peers.StartGeneration{Number: 2}, peers.HoldGeneration{Number: 2}, peers.DropGeneration{Number: 2})
	begun := inv.Mesh.Generations[0].Started
	if last := inv.Mesh.LastRotation(begun); !last.Equal(inv.Mesh.Dropped.At) || last.Before(begun) {
		t.Errorf("the last rotation was %v, given up at %v", last, inv.Mesh.Dropped.At)
	}
	later := inv.Mesh.Dropped.At.Add(time.Hour)
	if last := inv.Mesh.LastRotation(later); !last.Equal(later) {
		t.Errorf("after a later one it was %v", last)
	}
}
