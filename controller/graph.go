package controller

import (
	"slices"
	"strings"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// graphHosts is how many active hosts a graph has links between. Of more, a picture shows nothing.
const graphHosts = 60

// Graph is the mesh as sites, hosts and links, as the hosts that are connected see them.
func (c *Controller) Graph() wire.Graph {
	inv := c.Inventory()
	g := wire.Graph{Mesh: inv.Mesh.Name, Revision: inv.Revision, Sites: []wire.GraphSite{}, Between: "hosts"}
	var active []*peers.Host
	sites := map[string]*wire.GraphSite{}
	for _, s := range inv.Declare().Sites {
		site := &wire.GraphSite{Name: s.Name, Prefixes: []string{}, Hosts: []wire.GraphHost{}}
		for _, p := range s.Prefixes {
			site.Prefixes = append(site.Prefixes, p.String())
		}
		sites[s.Name] = site
	}
	for _, h := range inv.SortedHosts() {
		v := c.hostView(h)
		host := wire.GraphHost{Name: h.Name, State: h.State, Online: v.Online, Problems: len(v.Problems)}
		host.Gateway = 1 + slices.Index(inv.Sites[h.Site].Gateways, h.Name)
		sites[h.Site].Hosts = append(sites[h.Site].Hosts, host)
		if h.State == peers.HostActive {
			active = append(active, h)
		}
	}
	for _, s := range inv.Declare().Sites {
		g.Sites = append(g.Sites, *sites[s.Name])
	}
	g.Links = c.hostLinks(inv, active)
	if len(active) > graphHosts {
		g.Between, g.Links = "sites", siteLinks(inv, g.Links)
	}
	return g
}

// hostLinks are the links between all active hosts that have a flow.
func (c *Controller) hostLinks(inv *peers.Inventory, active []*peers.Host) []wire.GraphLink {
	roles := inv.Planner().Roles()
	sees := map[peers.HostID]map[peers.HostID]bool{} // nil for a host that is not there
	for _, h := range active {
		if !c.sessions.online(h.ID) {
			continue
		}
		sees[h.ID] = map[peers.HostID]bool{}
		for _, r := range c.book.Peers(h.ID) {
			sees[h.ID][r.ID] = sees[h.ID][r.ID] || r.State == wire.PeerUp
		}
	}
	links := []wire.GraphLink{}
	for i, a := range active {
		for _, b := range active[i+1:] {
			if !roles[a.ID].Meets(roles[b.ID]) {
				continue
			}
			l := wire.GraphLink{A: a.Name, B: b.Name, Pairs: 1, State: linkState(sees[a.ID], sees[b.ID], a.ID, b.ID)}
			if l.State == wire.LinkUp {
				l.Up = 1
			}
			links = append(links, l)
		}
	}
	return links
}

// linkState is what those ends say of a link that are there.
func linkState(a, b map[peers.HostID]bool, idA, idB peers.HostID) string {
	said, up := 0, 0
	for _, end := range []struct {
		sees map[peers.HostID]bool
		of   peers.HostID
	}{{a, idB}, {b, idA}} {
		if end.sees != nil {
			said++
			if end.sees[end.of] {
				up++
			}
		}
	}
	switch {
	case said == 0:
		return wire.LinkUnknown
	case up == said:
		return wire.LinkUp
	case up == 0:
		return wire.LinkDown
	}
	return wire.LinkPartial
}

// siteLinks adds links between hosts up to those between their sites.
func siteLinks(inv *peers.Inventory, links []wire.GraphLink) []wire.GraphLink {
	site := map[string]string{}
	for _, h := range inv.Hosts {
		site[h.Name] = h.Site
	}
	sum := map[[2]string]*wire.GraphLink{}
	unknown := map[[2]string]int{}
	for _, l := range links {
		ends := [2]string{min(site[l.A], site[l.B]), max(site[l.A], site[l.B])}
		s := sum[ends]
		if s == nil {
			s = &wire.GraphLink{A: ends[0], B: ends[1]}
			sum[ends] = s
		}
		s.Pairs++
		s.Up += l.Up
		if l.State == wire.LinkUnknown {
			unknown[ends]++
		}
	}
	out := []wire.GraphLink{}
	for ends, s := range sum {
		switch {
		case s.Up == s.Pairs:
			s.State = wire.LinkUp
		case unknown[ends] == s.Pairs:
			s.State = wire.LinkUnknown
		case s.Up == 0:
			s.State = wire.LinkDown
		default:
			s.State = wire.LinkPartial
		}
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b wire.GraphLink) int { return strings.Compare(a.A+"/"+a.B, b.A+"/"+b.B) })
	return out
}
