package store

import (
	"bytes"
	"testing"

	"github.com/warren-mesh/warren/peers"
)

// FuzzRecord: whatever is on disk, it is either what was written or an error.
func FuzzRecord(f *testing.F) {
	f.Add([]byte("content"), 3, byte(1))
	f.Add([]byte(""), 0, byte(0))
	f.Add([]byte("two\nlines"), 200, byte(0x80))
	f.Fuzz(func(t *testing.T, content []byte, at int, flip byte) {
		raw := encodeRecord("plan", content)
		got, err := decodeRecord("f", "plan", raw)
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("came back as %q, %v", got, err)
		}
		if flip == 0 {
			return
		}
		raw[uint(at)%uint(len(raw))] ^= flip
		if got, err := decodeRecord("f", "plan", raw); err == nil {
			t.Fatalf("damage at %d was taken for %q", at, got)
		}
		if _, err := decodeRecord("f", "plan", content); err == nil && !bytes.HasPrefix(content, []byte("warren plan 1 ")) {
			t.Fatalf("%q was taken for a record", content)
		}
	})
}

// FuzzPlan: what passes as a plan can be written and read again as the same.
func FuzzPlan(f *testing.F) {
	p := peers.Plan{Self: peers.Self{ID: "a"}, Mesh: peers.PlanMesh{ID: "m"}}
	raw, err := encodePlan(p, peers.Hash{1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"plan":{"self":{"id":"a"},"mesh":{"id":"m"}},"psks":{"1":{"b":"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="}}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		kept, err := decodePlan(content)
		if err != nil {
			return
		}
		raw, err := encodePlan(kept.Plan, kept.Head)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodePlan(raw)
		if err != nil || again.Head != kept.Head || again.Plan.Self.ID != kept.Plan.Self.ID {
			t.Fatalf("came back otherwise: %v", err)
		}
	})
}
