package peers

import (
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/peers/key"
)

// peers makes the peers of an interface right.
func (d *differ) peers(want *Interface) {
	if !d.has(want) {
		return
	}
	have := d.links[want.Name]
	if have == nil || d.rekeys(want, have) {
		have = &linkIndex{Link: &Link{Name: want.Name}}
	}
	planned := make([]bool, len(have.Peers))
	moved := map[netip.Prefix]bool{}
	var surplus []SetPeer
	for i := range d.plan.Peers {
		peer := &d.plan.Peers[i]
		k, ok := peer.Key(want.Generation)
		if !ok {
			continue
		}
		was := have.find(k)
		if was != nil {
			planned[have.byKey[k]] = true
		}
		step, differs := d.peer(want, peer, k, was)
		if differs {
			d.build = append(d.build, step)
		}
		for _, prefix := range step.Allowed {
			moved[prefix] = true
		}
		if all := d.prefixes(peer); was != nil && hasSurplus(was.Allowed, all) {
			surplus = append(surplus, SetPeer{
				Link: want.Name, Host: peer.Name, Key: k, Allowed: all, ReplaceAllowed: true,
			})
		}
	}
	d.takeSurplus(have, surplus, moved)
	for i := range have.Peers {
		if !planned[i] {
			d.shrink = append(d.shrink, DelPeer{Link: want.Name, Key: have.Peers[i].Key})
		}
	}
}

// prefixes are the allowed IPs of a peer, and what is routed to it: its addresses, then the networks for which it
// acts, on each interface that it is on.
func (d *differ) prefixes(peer *Peer) []netip.Prefix {
	if more := d.behind[peer.ID]; len(more) > 0 {
		return slices.Concat(peer.Prefixes, more)
	}
	return peer.Prefixes
}

// takeSurplus takes from peers the allowed IPs that they should not have, and that have not gone from
// there already by moving to another peer.
func (d *differ) takeSurplus(have *linkIndex, surplus []SetPeer, moved map[netip.Prefix]bool) {
	for _, s := range surplus {
		rest := slices.DeleteFunc(slices.Clone(have.find(s.Key).Allowed), func(p netip.Prefix) bool {
			return moved[p] && !slices.Contains(s.Allowed, p)
		})
		if hasSurplus(rest, s.Allowed) {
			d.shrink = append(d.shrink, s)
		}
	}
}

// peer is the step that makes one peer right, and whether there is one to take.
func (d *differ) peer(in *Interface, want *Peer, k key.Public, have *LinkPeer) (SetPeer, bool) {
	step := SetPeer{Link: in.Name, Host: want.Name, Key: k}
	if have == nil {
		step.New = true
		have = &LinkPeer{}
	}
	if psk := d.plan.PSKs[in.Generation][want.ID]; !psk.IsZero() && !psk.Equal(have.PSK) {
		step.PSK = &psk
	}
	if !have.Endpoint.IsValid() {
		step.Endpoint = d.firstEndpoint(in, want)
	}
	if seconds := d.plan.Mesh.Keepalive; have.Keepalive != seconds && d.mayKeepalive(in, want, have) {
		step.Keepalive = &seconds
	}
	for _, prefix := range d.prefixes(want) {
		if !slices.Contains(have.Allowed, prefix) {
			step.Allowed = append(step.Allowed, prefix)
		}
	}
	differs := step.New || step.PSK != nil || step.Endpoint.IsValid() || step.Keepalive != nil || len(step.Allowed) > 0
	return step, differs
}

// firstEndpoint is where a peer is tried first: in a rotation at the candidate where it answers on the
// other interface, otherwise at the first one.
func (d *differ) firstEndpoint(in *Interface, want *Peer) netip.AddrPort {
	candidates := want.candidates(d.state.IPv6, d.tunnelled)
	if len(candidates) == 0 {
		return netip.AddrPort{}
	}
	for i := range d.plan.Interfaces {
		other := &d.plan.Interfaces[i]
		k, ok := want.Key(other.Generation)
		if l := d.links[other.Name]; ok && l != nil && other.Generation != in.Generation && d.proven(other, k) {
			at := slices.IndexFunc(candidates, func(e Endpoint) bool { return e.At(other.Generation) == l.find(k).Endpoint })
			return candidates[max(0, at)].At(in.Generation)
		}
	}
	return candidates[0].At(in.Generation)
}

// mayKeepalive says whether a keepalive, which starts a handshake, may be set. Where both ends start
// one at once, each overwrites the state that the other's answer needs, and both wait 5 s for the next
// try. So the host that joined later starts: by then the other one knows it. So does a host that lost its
// interface. Where all hosts build one at the same time, in a rotation, Roam starts the handshakes.
func (d *differ) mayKeepalive(in *Interface, want *Peer, have *LinkPeer) bool {
	k, _ := want.Key(in.Generation)
	switch {
	case d.plan.Lost[AttemptKey{Link: in.Name, Key: k}]:
		return true
	case !have.LastHandshake.IsZero() || have.Keepalive != 0:
		return true
	case d.links[in.Name] == nil && in.Generation <= d.plan.Again:
		return true
	case d.plan.Leaving() != 0 && in.Generation == d.plan.Newest():
		return false
	}
	return want.Joined < d.plan.Self.Joined && announced(in, d.publicOf(in.Generation))
}

// announced reports whether the controller knows the key of an interface, and so do the others: before
// that nobody answers.
func announced(in *Interface, own key.Public) bool { return own.IsZero() || own == in.Public }

func hasSurplus(have, want []netip.Prefix) bool {
	return slices.ContainsFunc(have, func(p netip.Prefix) bool { return !slices.Contains(want, p) })
}
