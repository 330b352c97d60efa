package agent

import (
	"net/netip"

	"github.com/warren-mesh/warren/peers"
)

// A place is where a peer is to be found in the kernel.
type place struct {
	in     *peers.Interface
	peer   *peers.LinkPeer
	routed bool // traffic to it goes there
	mtu    int  // of the route, 0 for that of the interface
}

// places are where the peers of the plan are. They are found once for each observation: all of a turn asks for them.
func (l *loop) places() map[peers.HostID]place {
	if l.seen.places == nil || l.seen.placed != l.plan {
		l.seen.places, l.seen.placed = locate(&l.seen.state, &l.plan.want), l.plan
	}
	return l.seen.places
}

// locate finds every peer in the kernel: on the interface that its traffic takes, or else on the newest that
// has it.
func locate(s *peers.State, p *peers.Plan) map[peers.HostID]place {
	routes := make(map[netip.Prefix]*peers.Route, len(s.Routes))
	for i := range s.Routes {
		if r := &s.Routes[i]; r.Link != "" { // an unreachable route can be to the same prefix
			routes[r.Prefix] = r
		}
	}
	out := make(map[peers.HostID]place, len(p.Peers))
	for i := range p.Interfaces {
		in := &p.Interfaces[i]
		have := byKey(s, in.Name)
		for j := range p.Peers {
			peer := &p.Peers[j]
			k, _ := peer.Key(in.Generation)
			found := have[k]
			if found == nil || out[peer.ID].routed {
				continue
			}
			here := place{in: in, peer: found}
			if len(peer.Prefixes) > 0 && routes[peer.Prefixes[0]] != nil {
				route := routes[peer.Prefixes[0]]
				here.routed, here.mtu = route.Link == in.Name, route.MTU
			}
			out[peer.ID] = here
		}
	}
	return out
}

func byKey(s *peers.State, name string) map[[32]byte]*peers.LinkPeer {
	link, ok := s.LinkNamed(name)
	if !ok {
		return nil
	}
	out := make(map[[32]byte]*peers.LinkPeer, len(link.Peers))
	for i := range link.Peers {
		out[link.Peers[i].Key] = &link.Peers[i]
	}
	return out
}
