package peers_test

import (
	"testing"

	"github.com/warren-mesh/warren/peers"
	"pgregory.net/rapid"
)

// TestRotationModel lets keys be rotated, and rotations be given up, while everything goes wrong that can.
func TestRotationModel(t *testing.T) {
	dropped, released := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		for range rapid.IntRange(20, 200).Draw(t, "events") {
			m.event()
			m.check("an event")
		}
		m.settleDown("the mesh after the faults")
		dropped, released = dropped+m.dropped, released+m.released
	})
	if dropped == 0 {
		t.Error("no rotation was given up: the model does not get there")
	}
	t.Logf("%d rotations were given up, %d that were to be went on", dropped, released)
}

// giveUp lets the controller drop the generation that is held, or release it, if it is time for that.
func (m *model) giveUp(g peers.Generation) {
	moved, waiting := m.rotation.Held(m.inv, func(peers.HostID) peers.Presence { return peers.Online })
	switch {
	case len(moved) > 0:
		m.released++
		m.record(peers.ReleaseGeneration{Number: g})
	case len(waiting) == 0:
		m.dropped++
		m.record(peers.DropGeneration{Number: g})
	}
}
