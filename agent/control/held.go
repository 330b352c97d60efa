package control

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	minMTU        = 576
	maxMTU        = 65535
	maxInterfaces = 2
)

// A Held plan is what the controller said last, all in all. It is immutable: a message makes another one.
type Held struct {
	Plan peers.Plan // with pre-shared keys, without private ones
	Head peers.Hash
}

// next is what is held after a message that carries a plan or a part of one; h may be nil.
func (h *Held) next(d *wire.Down, self peers.HostID, mesh string) (*Held, error) {
	switch d.Kind {
	case wire.DownSnapshot:
		return h.snapshot(d, self, mesh)
	case wire.DownCurrent:
		if h == nil {
			return nil, errors.New("the controller takes this agent to have a plan, which it has not")
		}
		n := *h
		n.Plan.Revision, n.Head = d.Revision, d.Head
		return &n, nil
	case wire.DownDelta:
		return h.delta(d, self, mesh)
	case wire.DownRetire:
		return h.retire(d)
	}
	return nil, fmt.Errorf("a message of kind %q is not known here: is the controller much newer?", d.Kind)
}

func (h *Held) retire(d *wire.Down) (*Held, error) {
	if h == nil || d.Retire == nil {
		return nil, errors.New("the end of a generation with nobody, or in no plan")
	}
	n := *h
	n.Plan = h.Plan.Retire(d.Retire.Generation, d.Retire.Peers...)
	return &n, nil
}

// moved is what is remembered of how far the host is with leaving a generation.
func (h *Held) moved() peers.Moved {
	if h == nil {
		return peers.Moved{}
	}
	return h.Plan.Moved
}

func (h *Held) snapshot(d *wire.Down, self peers.HostID, mesh string) (*Held, error) {
	if d.Plan == nil {
		return nil, errors.New("a snapshot without a plan")
	}
	n := &Held{Plan: d.Plan.WithMoved(h.moved()), Head: d.Head}
	n.Plan.Revision = d.Revision
	n.Plan.Peers = slices.SortedFunc(slices.Values(d.Peers), peers.ComparePeers)
	twice := slices.CompactFunc(slices.Clone(n.Plan.Peers), func(a, b peers.Peer) bool { return a.ID == b.ID })
	if len(twice) != len(n.Plan.Peers) {
		return nil, errors.New("a snapshot names a host twice")
	}
	psks, err := d.ParsePSKs()
	if err != nil {
		return nil, fmt.Errorf("pre-shared keys: %v", err)
	}
	n.Plan.PSKs = psks
	return n, n.check(self, mesh)
}

func (h *Held) delta(d *wire.Down, self peers.HostID, mesh string) (*Held, error) {
	if h == nil {
		return nil, errors.New("a change of a plan that this agent does not have")
	}
	if d.Revision < h.Plan.Revision {
		return nil, fmt.Errorf("a change back from revision %d to %d", h.Plan.Revision, d.Revision)
	}
	psks, err := d.ParsePSKs()
	if err != nil {
		return nil, fmt.Errorf("pre-shared keys: %v", err)
	}
	n := &Held{Plan: h.Plan, Head: d.Head}
	if d.Plan != nil {
		n.Plan = d.Plan.WithMoved(h.moved())
	}
	n.Plan.Revision = d.Revision
	n.Plan.Peers = merge(h.Plan.Peers, d.Peers, d.Remove)
	n.Plan.PSKs = mergePSKs(h.Plan.PSKs, psks, d.Remove)
	for g := range n.Plan.PSKs {
		if !slices.ContainsFunc(n.Plan.Interfaces, func(in peers.Interface) bool { return in.Generation == g }) {
			delete(n.Plan.PSKs, g)
		}
	}
	return n, n.check(self, mesh)
}

// merge gives the peers after a change in a slice of its own, in order.
func merge(old, upsert []peers.Peer, remove []peers.HostID) []peers.Peer {
	gone := make(map[peers.HostID]bool, len(remove)+len(upsert))
	for _, id := range remove {
		gone[id] = true
	}
	for _, p := range upsert {
		gone[p.ID] = true
	}
	out := make([]peers.Peer, 0, len(old)+len(upsert))
	for i := range old {
		if !gone[old[i].ID] {
			out = append(out, old[i])
		}
	}
	for _, p := range upsert {
		i, found := slices.BinarySearchFunc(out, p, peers.ComparePeers)
		if found {
			out[i] = p
			continue
		}
		out = slices.Insert(out, i, p)
	}
	return out
}

func mergePSKs(old, upsert peers.PSKs, remove []peers.HostID) peers.PSKs {
	out := make(peers.PSKs, len(old))
	for g, byHost := range old {
		out[g] = maps.Clone(byHost)
		for _, id := range remove {
			delete(out[g], id)
		}
	}
	for g, byHost := range upsert {
		for id, psk := range byHost {
			out.Put(g, id, psk)
		}
	}
	return out
}

// check refuses what must not reach a kernel. A message that fails it is not applied at all.
func (h *Held) check(self peers.HostID, mesh string) error {
	p := &h.Plan
	if p.Self.ID != self || p.Mesh.ID != mesh {
		return fmt.Errorf("a plan for host %q of mesh %q, but this is %q of %q", p.Self.ID, p.Mesh.ID, self, mesh)
	}
	if !p.Self.Address.Is4() || !p.Self.Address6.Is6() || !p.Mesh.Overlay.IsValid() || !p.Mesh.Overlay6.IsValid() {
		return errors.New("a plan without addresses")
	}
	if err := checkInterfaces(p.Interfaces); err != nil {
		return err
	}
	if err := p.Gate.Check(); err != nil {
		return err
	}
	if _, own := slices.BinarySearchFunc(p.Peers, peers.Peer{ID: self}, peers.ComparePeers); own {
		return errors.New("a plan in which this host is its own peer")
	}
	return nil
}

func checkInterfaces(all []peers.Interface) error {
	if len(all) == 0 || len(all) > maxInterfaces {
		return fmt.Errorf("a plan with %d interfaces", len(all))
	}
	for i, in := range all {
		switch {
		case in.Generation == 0 || in.Name != in.Generation.Link():
			return fmt.Errorf("a plan with generation %d on interface %q", in.Generation, in.Name)
		case i > 0 && (in.Generation <= all[i-1].Generation || in.Name == all[i-1].Name):
			return fmt.Errorf("a plan with generation %d after %d", in.Generation, all[i-1].Generation)
		case in.Port == 0 || in.MTU < minMTU || in.MTU > maxMTU:
			return fmt.Errorf("a plan with port %d and MTU %d for %s", in.Port, in.MTU, in.Name)
		}
	}
	return nil
}
