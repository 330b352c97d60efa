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
	if have == nil {
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
		if was != nil && hasSurplus(was.Allowed, peer.Prefixes) {
			surplus = append(surplus, SetPeer{
				Link: want.Name, Host: peer.Name, Key: k, Allowed: peer.Prefixes, ReplaceAllowed: true,
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
	if candidates := want.candidates(d.state.IPv6); !have.Endpoint.IsValid() && len(candidates) > 0 {
		step.Endpoint = candidates[0].At(in.Generation)
	}
	if seconds := d.plan.Mesh.Keepalive; have.Keepalive != seconds && d.mayKeepalive(in, want, have) {
		step.Keepalive = &seconds
	}
	for _, prefix := range want.Prefixes {
		if !slices.Contains(have.Allowed, prefix) {
			step.Allowed = append(step.Allowed, prefix)
		}
	}
	differs := step.New || step.PSK != nil || step.Endpoint.IsValid() || step.Keepalive != nil || len(step.Allowed) > 0
	return step, differs
}

// mayKeepalive says whether a keepalive, which starts a handshake, may be set. Where both ends start
// one at once, each overwrites the state that the other's answer needs, and both wait 5 s for the next
// try. So the host that joined later starts: by then the other one knows it. So does a host that lost its
// interface, but not during a rotation, when all hosts build one at the same time.
func (d *differ) mayKeepalive(in *Interface, want *Peer, have *LinkPeer) bool {
	if want.Joined < d.plan.Self.Joined || !have.LastHandshake.IsZero() || have.Keepalive != 0 {
		return true
	}
	return d.plan.Again && d.links[in.Name] == nil && len(d.plan.Interfaces) == 1
}

func hasSurplus(have, want []netip.Prefix) bool {
	return slices.ContainsFunc(have, func(p netip.Prefix) bool { return !slices.Contains(want, p) })
}
