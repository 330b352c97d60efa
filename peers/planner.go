package peers

import (
	"maps"
	"slices"
)

// A Planner computes plans of one inventory. What they have in common it computes once, so ask one planner
// for many plans. It is immutable.
type Planner struct {
	inv   *Inventory
	roles *Roles
	sites []PlanSite
}

// Planner makes the planner of an inventory.
func (inv *Inventory) Planner() *Planner {
	return &Planner{inv: inv, roles: inv.Roles(), sites: inv.planSites()}
}

// Role is the role of a host; the zero Role for one that is not active or does not exist.
func (pl *Planner) Role(id HostID) Role { return pl.roles.Of(pl.inv.Hosts[id]) }

// Roles are the roles of all active hosts.
func (pl *Planner) Roles() map[HostID]Role {
	out := make(map[HostID]Role, len(pl.inv.Hosts))
	for id, h := range pl.inv.Hosts {
		if h.State == HostActive {
			out[id] = pl.roles.Of(h)
		}
	}
	return out
}

// Peer is the record of a host as the others see it; false for one that is in nobody's plan.
func (pl *Planner) Peer(id HostID) (Peer, bool) { return pl.inv.Peer(id) }

// Peers are the records of all hosts that are in anybody's plan, by id.
func (pl *Planner) Peers() []Peer {
	out := make([]Peer, 0, len(pl.inv.Hosts))
	for _, id := range slices.Sorted(maps.Keys(pl.inv.Hosts)) {
		if p, ok := pl.Peer(id); ok {
			out = append(out, p)
		}
	}
	return out
}

// Plan computes what a host must have: peers are only those that it has a flow with. The error is ErrNoPlan
// for a host that is not active or does not exist.
func (pl *Planner) Plan(id HostID) (Plan, error) {
	p, err := pl.Alone(id)
	if err != nil {
		return Plan{}, err
	}
	return p.with(id, pl.Peers(), pl.Roles()), nil
}

// Plans computes the plans of all active hosts, by id.
func (pl *Planner) Plans() []Plan {
	all, roles := pl.Peers(), pl.Roles()
	out := make([]Plan, 0, len(roles))
	for _, id := range slices.Sorted(maps.Keys(roles)) {
		if p, err := pl.Alone(id); err == nil {
			out = append(out, p.with(id, all, roles))
		}
	}
	return out
}

// with is the plan with those peers that a host meets.
func (p Plan) with(id HostID, all []Peer, roles map[HostID]Role) Plan {
	self := roles[id]
	p.Peers = make([]Peer, 0, len(all))
	for i := range all {
		if all[i].ID != id && self.Meets(roles[all[i].ID]) {
			p.Peers = append(p.Peers, all[i])
		}
	}
	return p
}

// Alone is Plan without the peers: the part that is of the host's own.
func (pl *Planner) Alone(id HostID) (Plan, error) {
	inv := pl.inv
	h := inv.Hosts[id]
	if h == nil || h.State != HostActive {
		return Plan{}, ErrNoPlan
	}
	m := &inv.Mesh
	p := Plan{
		Revision: inv.Revision,
		Mesh:     PlanMesh{ID: m.ID, Name: m.Name, Overlay: m.Overlay, Overlay6: m.Overlay6, Keepalive: m.Keepalive},
		Self: Self{
			ID: h.ID, Name: h.Name, Site: h.Site, Address: h.Address, Address6: h.Address6, Joined: h.Joined,
		},
		Sites: pl.sitesOf(h), Gate: pl.roles.gate(inv, h),
	}
	p.Self.Draining = h.Draining
	p.Self.Rekey = h.Rekey != nil && len(m.Generations) == 1
	if from := h.Origin(); from != h.ID {
		p.Self.Origin = from
	}
	p.Mesh.Pin, p.Mesh.KeysUntil = m.Pin, m.keysUntil()
	if m.Heir != nil {
		p.Mesh.Heir = &PinHeir{Handover: m.Heir.Handover, To: m.Heir.To}
	}
	for _, mark := range m.Generations {
		g := mark.Number
		p.Interfaces = append(p.Interfaces, Interface{
			Generation: g, Name: g.Link(), Port: h.Port + uint16(g.Slot()), MTU: m.MTU, Public: h.Key(g), Since: mark.Started,
			Held: mark.Held != 0,
		})
	}
	return p, nil
}
