package peers

import (
	"net/netip"
	"slices"
)

// ActingIn tells by which gateway a host reaches each of some sites now: the peer that has the site's networks among
// its allowed IPs. So an agent that is started anew goes on with what there is.
func (p *Plan) ActingIn(s *State, sites []PlanSite) map[string]HostID {
	out := map[string]HostID{}
	if len(sites) == 0 {
		return out
	}
	links := indexLinks(s.Links)
	for i := range sites {
		site := &sites[i]
		for j := range p.Interfaces {
			in := &p.Interfaces[j]
			if l := links[in.Name]; l != nil && len(site.Prefixes) > 0 {
				if id := p.holder(l, in.Generation, site); id != "" {
					out[site.Name] = id
				}
			}
		}
	}
	return out
}

// holder is the gateway of a site whose peer on a link has the site's first network.
func (p *Plan) holder(l *linkIndex, g Generation, site *PlanSite) HostID {
	for _, id := range site.Gateways {
		peer := p.peer(id)
		if peer == nil {
			continue
		}
		k, _ := peer.Key(g)
		if found := l.find(k); found != nil && slices.Contains(found.Allowed, site.Prefixes[0]) {
			return id
		}
	}
	return ""
}

// peer is the record of a peer; nil where the plan has none.
func (p *Plan) peer(id HostID) *Peer {
	if i, ok := slices.BinarySearchFunc(p.Peers, Peer{ID: id}, ComparePeers); ok {
		return &p.Peers[i]
	}
	return nil
}

// Contested are the sites of which it has to be decided which gateway acts: those with several gateways in the plan,
// and the host's own where it is a gateway of it. Their gateways are only those that are in the plan, and the host.
func (p *Plan) Contested() (out []PlanSite) {
	for _, site := range p.Sites {
		gateways := slices.DeleteFunc(slices.Clone(site.Gateways), func(id HostID) bool {
			return id != p.Self.ID && p.peer(id) == nil
		})
		own := site.Name == p.Self.Site && slices.Contains(gateways, p.Self.ID)
		if own || len(gateways) > 1 && site.Name != p.Self.Site {
			site.Gateways = gateways
			out = append(out, site)
		}
	}
	return out
}

// Elsewhere are all peers of other sites than the host's own, by their overlay addresses.
func (p *Plan) Elsewhere() map[netip.Addr]HostID {
	out := make(map[netip.Addr]HostID, len(p.Peers))
	for i := range p.Peers {
		if p.Peers[i].Site == p.Self.Site {
			continue
		}
		for _, prefix := range p.Peers[i].Prefixes {
			out[prefix.Addr()] = p.Peers[i].ID
		}
	}
	return out
}
