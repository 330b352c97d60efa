package peers

import (
	"fmt"
	"slices"
	"time"
)

// A rotation can be given up as long as no traffic has moved. That is known only when nothing moves any more, so it takes
// two steps. First the newer generation is held: hosts go on to accept on it, and none moves traffic to it. When every host
// that has a key of it has said so, and has that on disk, the generation is dropped. Where a host's traffic has moved
// already, the hold is released, and the rotation goes on: the other end of that pair may be out of the controller's
// reach, and would go on sending to where nobody listens.

// HoldGeneration holds the newer of two generations.
type HoldGeneration struct {
	Number Generation `json:"number"`
}

// ReleaseGeneration takes that back: the rotation goes on.
type ReleaseGeneration struct {
	Number Generation `json:"number"`
}

// DropGeneration ends a rotation without a change: the newer of two generations, which is held, is gone. Its number, with
// all keys of it, is never used again.
type DropGeneration struct {
	Number Generation `json:"number"`
}

// Kind is "generation.hold".
func (HoldGeneration) Kind() string { return "generation.hold" }

// Kind is "generation.release".
func (ReleaseGeneration) Kind() string { return "generation.release" }

// Kind is "generation.drop".
func (DropGeneration) Kind() string { return "generation.drop" }

// A DroppedMark says which generation was given up last, and when.
type DroppedMark struct {
	Number Generation `json:"number"`
	At     time.Time  `json:"at"`
}

// newer is the newer of two generations, if it has that number and is held or not.
func (m *Mesh) newer(number Generation, held bool) *GenerationMark {
	if len(m.Generations) != 2 || m.Generations[1].Number != number || (m.Generations[1].Held != 0) != held {
		return nil
	}
	m.Generations = slices.Clone(m.Generations)
	return &m.Generations[1]
}

func (d *draft) refuseGeneration(g Generation, what string) {
	d.refuse("generation-order", fmt.Sprintf("generation/%d", g), "warren rotate status",
		"generation %d is not the newer one of two, and %s", g, what)
}

func (op HoldGeneration) apply(d *draft) {
	m := d.next.Mesh
	mark := m.newer(op.Number, false)
	if mark == nil {
		d.refuseGeneration(op.Number, "not held")
		return
	}
	mark.Held = d.prev.Revision + 1
	d.putMesh(m)
}

func (op ReleaseGeneration) apply(d *draft) {
	m := d.next.Mesh
	mark := m.newer(op.Number, true)
	if mark == nil {
		d.refuseGeneration(op.Number, "held")
		return
	}
	mark.Held = 0
	d.putMesh(m)
}

func (op DropGeneration) apply(d *draft) {
	m := d.next.Mesh
	if m.newer(op.Number, true) == nil {
		d.refuseGeneration(op.Number, "held")
		return
	}
	m.Generations, m.Dropped = m.Generations[:1:1], &DroppedMark{Number: op.Number, At: d.change.At}
	d.putMesh(m)
}

func (op HoldGeneration) tell() string {
	return fmt.Sprintf("rotation to generation %d is to be given up: no traffic moves to it any more", op.Number)
}

func (op ReleaseGeneration) tell() string {
	return fmt.Sprintf("rotation to generation %d is not given up, it goes on", op.Number)
}

func (op DropGeneration) tell() string {
	return fmt.Sprintf("rotation to generation %d is given up before any traffic has moved, its keys are gone", op.Number)
}

// NextGeneration is the number of the generation that the next rotation leads to: the one after the newest that ever was,
// which has the other slot.
func (m *Mesh) NextGeneration() Generation {
	next := m.Current() + 1
	if m.Dropped != nil && m.Dropped.Number >= next {
		next = m.Dropped.Number + 2
	}
	return next
}

// LastRotation is when a rotation was begun or given up last, for the schedule: one that was given up is not begun again at
// once.
func (m *Mesh) LastRotation(begun time.Time) time.Time {
	if m.Dropped != nil && m.Dropped.At.After(begun) {
		return m.Dropped.At
	}
	return begun
}

// held is the interface of a generation that is held; nil where none is.
func (p *Plan) held() *Interface {
	if n := len(p.Interfaces); n == 2 && p.Interfaces[1].Held {
		return &p.Interfaces[1]
	}
	return nil
}

// HeldAt is the revision of a plan in which the newer generation is held; 0 for one in which it is not.
func (p *Plan) HeldAt() Revision {
	if p.held() == nil {
		return 0
	}
	return p.Revision
}

// Holds reports whether a host with this plan sends nothing by the newer generation, which is held, and will not.
func (p *Plan) Holds(s State) bool {
	in := p.held()
	if in == nil || len(p.Moved.Routed)+len(p.Moved.Retired) > 0 {
		return false
	}
	return !slices.ContainsFunc(s.Routes, func(r Route) bool { return r.Link == in.Name })
}

// leads reports whether traffic to a peer, or some of it, takes an interface now.
func (d *differ) leads(peer *Peer, link string) bool {
	return slices.ContainsFunc(d.state.Routes, func(r Route) bool {
		return r.Link == link && slices.Contains(d.prefixes(peer), r.Prefix)
	})
}

// Hold takes in that a host holds the newer generation, with the plan of a revision on its disk.
func (r *Rotation) Hold(id HostID, with Revision) {
	r.hosts[r.at(id)].holds = with
}

// Held says how it is with a rotation that is held: which hosts' traffic has moved, so that it must go on, and which hosts
// have not said yet that theirs has not and will not. Where there are none of either, it may be given up.
func (r *Rotation) Held(inv *Inventory, presence func(HostID) Presence) (moved []*Host, waiting []Wait) {
	held := inv.Mesh.Generations[1].Held
	for _, h := range inv.SortedHosts() {
		i, known := r.index[h.ID]
		if known && slices.ContainsFunc(r.said[i], func(s sight) bool { return s&(sawRoute|resting|wasSettled|wasRetired) != 0 }) {
			moved = append(moved, h)
		}
		if !inv.planned(h) || h.Key(r.To).IsZero() || known && r.hosts[i].holds >= held {
			continue
		}
		why := WaitHold
		if presence(h.ID) != Online {
			why = WaitOffline
		}
		waiting = append(waiting, Wait{Host: h, Reason: why})
	}
	return moved, waiting
}
