package controller

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/warren-mesh/warren/controller/failpoint"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	rotateEvery = time.Second
	// settleAfter is for how long a pair keeps both generations after both ends have moved their traffic:
	// what was sent before that arrives on the older one.
	settleAfter = 3 * time.Second
)

// moves are how far a rotation is, from what hosts say: soft state that is never kept. The zero value is
// ready for use.
type moves struct {
	mu    sync.Mutex
	now   *peers.Rotation // nil while none runs
	runs  map[peers.HostID]string
	ables map[peers.HostID]bool // to retire pairs one by one
	// holders are the hosts that know how to hold a generation.
	holders map[peers.HostID]bool
}

// watch begins to watch the rotation that runs in the mesh, if there is one and it is not watched yet.
func (m *moves) watch(mesh *peers.Mesh) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now.Is(mesh) {
		return
	}
	m.now = peers.NewRotation(mesh)
	for id, able := range m.ables {
		if m.now != nil {
			m.now.Begin(id, able)
		}
	}
}

// hello takes in that a host has opened a stream. The same run of an agent has forgotten nothing.
func (m *moves) hello(id peers.HostID, h *wire.Hello) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.runs == nil {
		m.runs, m.ables, m.holders = map[peers.HostID]string{}, map[peers.HostID]bool{}, map[peers.HostID]bool{}
	}
	m.holders[id] = h.Holds
	if m.runs[id] == h.Session && m.ables[id] == h.Retires {
		return
	}
	m.runs[id], m.ables[id] = strings.Clone(h.Session), h.Retires
	if m.now != nil {
		m.now.Begin(id, h.Retires)
	}
}

// hear takes in what a host reports of its peers.
func (m *moves) hear(inv *peers.Inventory, id peers.HostID, says []wire.PeerReport) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now == nil || len(says) == 0 {
		return
	}
	sightings := make([]peers.Sighting, len(says))
	for i, s := range says {
		sightings[i] = peers.Sighting{
			Peer: s.ID, Generation: s.Generation, Answers: s.State == wire.PeerUp, Routed: s.Routed,
		}
	}
	m.now.Hear(inv, id, sightings, time.Now())
}

// rekeyed takes in that a host has another key of the newest generation than before.
func (m *moves) rekeyed(id peers.HostID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now != nil {
		m.now.Rekey(id)
	}
}

// forget forgets a host.
func (m *moves) forget(id peers.HostID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.runs, id)
	delete(m.ables, id)
	delete(m.holders, id)
}

// settle settles pairs and gives the hosts that have one to retire.
func (m *moves) settle(now time.Time) []peers.HostID {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now == nil {
		return nil
	}
	return m.now.Settle(now.Add(-settleAfter))
}

// retired are the peers with which the older generation is over for a host and that it was not told of.
// told counts those of the rotation of; both are updated.
func (m *moves) retired(id peers.HostID, of *peers.Rotation, told int) (now *peers.Rotation, line *wire.Retire) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now == nil {
		return nil, nil
	}
	if of != m.now {
		told = 0
	}
	if ids := m.now.Retired(id, told); len(ids) > 0 {
		return m.now, &wire.Retire{Generation: m.now.From, Peers: ids}
	}
	return m.now, nil
}

// progress adds up how far the rotation of an inventory is; false where none runs.
func (m *moves) progress(inv *peers.Inventory, presence func(peers.HostID) peers.Presence) (peers.Progress, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.now.Is(&inv.Mesh) {
		return peers.Progress{Phase: peers.PhaseIdle}, false
	}
	return m.now.Progress(inv, presence), true
}

// Rotate begins a rotation: the next generation exists from now on, and all hosts move to it by
// themselves. Of several controllers that do this at once the ledger lets one.
func (c *Controller) Rotate(ctx context.Context, by string, order wire.RotationOrder) (wire.RotationView, error) {
	inv, err := c.begin(ctx, by, order, func(*peers.Inventory) bool { return true })
	if err != nil {
		return wire.RotationView{}, err
	}
	return c.rotationView(inv), nil
}

// begin begins a rotation if it is still wanted when the change is made.
func (c *Controller) begin(
	ctx context.Context, by string, order wire.RotationOrder, wanted func(*peers.Inventory) bool,
) (*peers.Inventory, error) {
	begun := false
	inv, err := c.change(ctx, by, order.Why, func(inv *peers.Inventory) (peers.Op, error) {
		if begun = wanted(inv); !begun {
			return nil, nil
		}
		g := inv.Mesh.NextGeneration()
		if len(inv.Mesh.Generations) == 1 { // otherwise it is refused
			if err := c.makeSecret(ctx, g); err != nil {
				return nil, err
			}
		}
		return peers.StartGeneration{Number: g, Grace: order.Grace}, nil
	})
	if err == nil && begun {
		c.log.Info("rotation started", "generation", uint64(inv.Mesh.Current()), "by", by, "why", order.Why)
	}
	return inv, err
}

// Rotation is how far the rotation is, if one runs.
func (c *Controller) Rotation() wire.RotationView { return c.rotationView(c.Inventory()) }

func (c *Controller) rotationView(inv *peers.Inventory) wire.RotationView {
	marks := inv.Mesh.Generations
	newest := marks[len(marks)-1]
	p, runs := c.moves.progress(inv, c.presence(inv, time.Now()))
	v := wire.RotationView{
		Generation: newest.Number, Phase: p.Phase, Started: newest.Started, Waiting: []wire.RotationWait{},
		Pairs: wire.RotationPairs{Total: p.Pairs, Proven: p.Proven, Switched: p.Switched, Retired: p.Retired},
	}
	v.Last = c.schedule.end(inv)
	if slot, ok, err := c.slot(inv, c.now()); ok && err == nil {
		at := slot.At.UTC()
		v.Next = &at
	}
	if !runs {
		return v
	}
	ends := newest.Started.Add(inv.Mesh.RotationGrace())
	v.Previous, v.GraceEnds = &marks[0].Number, &ends
	if v.Held = isHeld(inv); v.Held {
		_, p.Waiting, _ = c.moves.held(inv, c.presence(inv, time.Now()))
	}
	for _, w := range p.Waiting {
		page := c.book.Of(w.Host.ID)
		v.Waiting = append(v.Waiting, wire.RotationWait{
			Host: w.Host.Name, Code: w.Reason, Reason: why(w, page.Problems), Since: since(w, newest.Started, page.Seen),
		})
	}
	return v
}

// since is from when on a host is waited for.
func since(w peers.Wait, started, seen time.Time) time.Time {
	if w.Reason == peers.WaitOffline && !seen.IsZero() {
		return seen
	}
	return started
}

// mostNames is how many hosts are named in a reason.
const mostNames = 5

// why says what a host is waited for, in words.
func why(w peers.Wait, problems []peers.Problem) string {
	var names []string
	for _, h := range w.For[:min(len(w.For), mostNames)] {
		names = append(names, h.Name)
	}
	if more := len(w.For) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	others := strings.Join(names, ", ")
	switch w.Reason {
	case peers.WaitOffline:
		return "it is not connected to the controller"
	case peers.WaitAnswer:
		return "no handshake on the new generation with " + others
	case peers.WaitHold:
		return "it has not said yet that it moves no traffic to the new keys"
	case peers.WaitTraffic:
		return "its traffic still takes the old generation to " + others
	}
	said := []string{"it has not announced its key"}
	for _, p := range problems {
		said = append(said, p.Message)
	}
	return strings.Join(said, "; ")
}

// rotate takes a rotation on: it tells hosts of pairs that may retire, ends the rotation when there is
// nothing left to wait for, or nobody is waited for any more, and destroys secrets that are over.
func (c *Controller) rotate(ctx context.Context, now time.Time) {
	for _, id := range c.moves.settle(now) {
		failpoint.Reach(failpoint.PairsSettled)
		c.sessions.toRetire(id)
	}
	inv := c.Inventory()
	if isHeld(inv) {
		if err := c.giveUp(ctx, now); err != nil {
			c.log.Error("cannot give up the rotation", "error", err)
		}
	} else if p, runs := c.moves.progress(inv, c.presence(inv, now)); runs && (p.Settled || p.Gone) {
		if err := c.retire(ctx); err != nil {
			c.log.Error("cannot end the rotation", "error", err)
		}
	}
	if err := c.destroySecrets(ctx); err != nil {
		c.log.Error("cannot destroy the secret of a generation that is over", "error", err)
	}
}

// followMoves takes in what an entry means to the rotation.
func (c *Controller) followMoves(before, inv *peers.Inventory, ids []peers.HostID) {
	c.moves.watch(&inv.Mesh)
	g := inv.Mesh.Current()
	for _, id := range ids {
		was, is := before.Hosts[id], inv.Hosts[id]
		switch {
		case is == nil:
			c.moves.forget(id)
		case was != nil && !was.Key(g).IsZero() && was.Key(g) != is.Key(g):
			c.moves.rekeyed(id)
		}
	}
}
