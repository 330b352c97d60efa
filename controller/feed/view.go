package feed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// Secrets are those of the generations in use.
type Secrets map[peers.Generation]key.Secret

type derivers map[peers.Generation]*deriver

func newDerivers(secrets Secrets) derivers {
	d := derivers{}
	for g, s := range secrets {
		d[g] = newDeriver(s)
	}
	return d
}

// A record is one host as all others see it, and the same as JSON.
type record struct {
	peer   peers.Peer
	json   []byte
	origin peers.HostID // which pre-shared keys are made of
}

// A view is the mesh at one revision as readers need it. It is immutable.
type view struct {
	inv      *peers.Inventory
	planner  *peers.Planner
	derivers derivers
	records  []*record                   // by id, ascending
	roles    map[peers.HostID]peers.Role // of active hosts; nil where there is no policy
}

// role is the part of a host in the policy.
func (v *view) role(id peers.HostID) peers.Role {
	if v.roles == nil {
		return v.planner.Role(id)
	}
	return v.roles[id]
}

// seenBy are the records that a host with a role is told.
func (v *view) seenBy(reader peers.Role) []*record {
	if v.roles == nil {
		return v.records
	}
	var out []*record
	for _, r := range v.records {
		if reader.Meets(v.roles[r.peer.ID]) {
			out = append(out, r)
		}
	}
	return out
}

// newRecord encodes a record, once for all readers.
func newRecord(p peers.Peer) (*record, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode host %s: %v", p.ID, err)
	}
	return &record{peer: p, json: raw, origin: p.Origin()}, nil
}

// newView encodes everybody.
func newView(inv *peers.Inventory, d derivers) (*view, error) {
	v := &view{inv: inv, planner: inv.Planner(), derivers: d}
	if inv.Policy != nil {
		v.roles = v.planner.Roles()
	}
	for _, p := range v.planner.Peers() {
		r, err := newRecord(p)
		if err != nil {
			return nil, err
		}
		v.records = append(v.records, r)
	}
	return v, nil
}

func (v *view) find(id peers.HostID) (int, bool) {
	return slices.BinarySearchFunc(v.records, id, func(r *record, id peers.HostID) int {
		return strings.Compare(string(r.peer.ID), string(id))
	})
}

// next is the view of the inventory after an entry, with the hosts whose records really changed.
func (v *view) next(inv *peers.Inventory, e peers.Entry) (*view, []peers.HostID, error) {
	ids, all := e.Hosts()
	if all {
		return v.nextWhole(inv)
	}
	n := &view{inv: inv, planner: inv.Planner(), derivers: v.derivers, records: slices.Clone(v.records)}
	n.recast(v, ids, e.Everybody())
	var changed []peers.HostID
	for _, id := range ids {
		differs, err := n.refresh(id)
		if err != nil {
			return nil, nil, err
		}
		if differs {
			changed = append(changed, id)
		}
	}
	return n, changed, nil
}

// recast gives hosts their roles anew: some, or all where the policy itself is another one.
func (v *view) recast(old *view, ids []peers.HostID, all bool) {
	switch {
	case v.inv.Policy == nil:
	case all || old.roles == nil:
		v.roles = v.planner.Roles()
	default:
		v.roles = maps.Clone(old.roles)
		for _, id := range ids {
			delete(v.roles, id)
			if r := v.planner.Role(id); r != (peers.Role{}) {
				v.roles[id] = r
			}
		}
	}
}

// rolesBefore are the roles that hosts had before, of those that have another one now. With another policy,
// with which the old roles cannot be compared, they are those of all hosts.
func (v *view) rolesBefore(old *view, e peers.Entry) map[peers.HostID]peers.Role {
	ids, _ := e.Hosts()
	out := map[peers.HostID]peers.Role{}
	if e.Everybody() && (v.inv.Policy != nil || old.inv.Policy != nil) {
		for id := range v.inv.Hosts {
			out[id] = old.role(id)
		}
	}
	for _, id := range ids {
		if was := old.role(id); was != v.role(id) {
			out[id] = was
		}
	}
	return out
}

// nextWhole is next for an entry that may have changed any record: all are encoded anew and compared, so
// that only those which differ are told to anybody.
func (v *view) nextWhole(inv *peers.Inventory) (*view, []peers.HostID, error) {
	n, err := newView(inv, v.derivers)
	if err != nil {
		return nil, nil, err
	}
	var changed []peers.HostID
	for i, r := range n.records {
		switch old, ok := v.find(r.peer.ID); {
		case !ok:
			changed = append(changed, r.peer.ID)
		case bytes.Equal(v.records[old].json, r.json):
			n.records[i] = v.records[old]
		default:
			changed = append(changed, r.peer.ID)
		}
	}
	for _, r := range v.records {
		if _, ok := n.find(r.peer.ID); !ok {
			changed = append(changed, r.peer.ID)
		}
	}
	return n, changed, nil
}

// refresh encodes the record of one host anew and reports whether it differs. The view must not have
// been shown to anybody yet.
func (v *view) refresh(id peers.HostID) (bool, error) {
	at, had := v.find(id)
	p, has := v.planner.Peer(id)
	if !has {
		if had {
			v.records = slices.Delete(v.records, at, at+1)
		}
		return had, nil
	}
	r, err := newRecord(p)
	switch {
	case err != nil:
		return false, err
	case !had:
		v.records = slices.Insert(v.records, at, r)
	case bytes.Equal(v.records[at].json, r.json):
		return false, nil
	default:
		v.records[at] = r
	}
	return true, nil
}
