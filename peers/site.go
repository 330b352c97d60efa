package peers

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A SitePrefix is a network behind the gateways of a site, and how the mesh reaches it. As text it is the prefix,
// then "as PREFIX" where the mesh knows it by another one, then "snat" where that holds.
type SitePrefix struct {
	Prefix netip.Prefix // as the site itself has it
	As     netip.Prefix // the alias: by which the rest of the mesh knows it, of the same length; zero for none
	SNAT   bool         // to the site, packets of the mesh come from its gateway: for LANs that cannot route back
}

// Known is the prefix by which the mesh knows the network.
func (p SitePrefix) Known() netip.Prefix {
	if p.As.IsValid() {
		return p.As
	}
	return p.Prefix
}

// ParseSitePrefix reads what String writes. Whether a site may have it is not asked here.
func ParseSitePrefix(text string) (SitePrefix, error) {
	words := strings.Fields(text)
	var out SitePrefix
	var err error
	if len(words) == 0 {
		return out, fmt.Errorf("no prefix")
	}
	if out.Prefix, err = netip.ParsePrefix(words[0]); err != nil {
		return SitePrefix{}, fmt.Errorf("%.80q is no prefix: write 10.20.0.0/24", words[0])
	}
	rest := words[1:]
	if len(rest) >= 2 && rest[0] == "as" {
		if out.As, err = netip.ParsePrefix(rest[1]); err != nil {
			return SitePrefix{}, fmt.Errorf("%.80q is no prefix: write as 10.61.1.0/24", rest[1])
		}
		rest = rest[2:]
	}
	if len(rest) > 0 && rest[0] == "snat" {
		out.SNAT, rest = true, rest[1:]
	}
	if len(rest) > 0 {
		return SitePrefix{}, fmt.Errorf("%.80q is not understood: write PREFIX, PREFIX as PREFIX, PREFIX snat", text)
	}
	return out, nil
}

// String is the network as it is written.
func (p SitePrefix) String() string {
	s := p.Prefix.String()
	if p.As.IsValid() {
		s += " as " + p.As.String()
	}
	if p.SNAT {
		s += " snat"
	}
	return s
}

// MarshalText is String.
func (p SitePrefix) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is ParseSitePrefix.
func (p *SitePrefix) UnmarshalText(text []byte) (err error) {
	*p, err = ParseSitePrefix(string(text))
	return err
}

// Known are the prefixes by which the mesh knows the site.
func (s *Site) Known() []netip.Prefix {
	out := make([]netip.Prefix, len(s.Prefixes))
	for i, p := range s.Prefixes {
		out[i] = p.Known()
	}
	return out
}

// A PlanSite is a site with networks behind gateways, as a host must know it.
type PlanSite struct {
	Name     string         `json:"name"`
	Prefixes []netip.Prefix `json:"prefixes"` // by which the mesh knows its networks
	Gateways []HostID       `json:"gateways"` // in order of priority, also those that are in nobody's plan
	// Networks are those of Prefixes in their order, with what only hosts of the site itself are told.
	Networks []SitePrefix `json:"networks,omitempty"`
	Virtual  netip.Addr   `json:"virtual_ip,omitzero"` // on the LAN, of the gateway that acts; only told to hosts of the site
	Virtual6 netip.Addr   `json:"virtual_ip6,omitzero"`
	LANCheck []netip.Addr `json:"lan_check,omitempty"` // that its gateways ask; only told to hosts of the site
}

// Equal reports whether two are the same.
func (s PlanSite) Equal(o PlanSite) bool {
	return s.Name == o.Name && slices.Equal(s.Prefixes, o.Prefixes) && slices.Equal(s.Gateways, o.Gateways) &&
		slices.Equal(s.Networks, o.Networks)
}

// planSites are all sites that have networks and gateways, by name.
func (inv *Inventory) planSites() []PlanSite {
	var out []PlanSite
	var byName map[string]HostID
	for _, s := range inv.sortedSites() {
		if len(s.Prefixes) == 0 || len(s.Gateways) == 0 {
			continue
		}
		if byName == nil {
			byName = make(map[string]HostID, len(inv.Hosts))
			for id, h := range inv.Hosts {
				byName[h.Name] = id
			}
		}
		site := PlanSite{
			Name: s.Name, Prefixes: s.Known(), Networks: s.Prefixes, Virtual: s.Virtual, Virtual6: s.Virtual6, LANCheck: s.LANCheck,
		}
		for _, name := range s.Gateways {
			if id, ok := byName[name]; ok {
				site.Gateways = append(site.Gateways, id)
			}
		}
		out = append(out, site)
	}
	return out
}

// Sites are all sites that have networks behind gateways, by name, as their own hosts know them.
func (pl *Planner) Sites() []PlanSite { return pl.sites }

// sitesOf are the sites that a host may meet, with its own.
func (pl *Planner) sitesOf(h *Host) []PlanSite {
	var out []PlanSite
	role := pl.roles.Of(h)
	for _, s := range pl.sites {
		switch {
		case s.Name == h.Site:
			out = append(out, s)
		case role.Meets(pl.roles.lan(s.Name)):
			s.Networks, s.Virtual, s.Virtual6, s.LANCheck = nil, netip.Addr{}, netip.Addr{}, nil
			out = append(out, s)
		}
	}
	return out
}

// OwnSite is the host's own site; nil where that has no networks behind gateways.
func (p *Plan) OwnSite() *PlanSite {
	for i := range p.Sites {
		if p.Sites[i].Name == p.Self.Site {
			return &p.Sites[i]
		}
	}
	return nil
}

// Forwards are the networks of its own site that the host forwards to and from the mesh; nil for one that is
// none of its site's gateways. All gateways of a site forward, whichever acts.
func (p *Plan) Forwards() []SitePrefix {
	if own := p.OwnSite(); own != nil && slices.Contains(own.Gateways, p.Self.ID) {
		return own.Networks
	}
	return nil
}

// GatewayOf is the gateway by which the host reaches a site: the one that acts (Plan.Acting), or the first that
// is in the plan; "" for none, and for the host's own site, which it does not reach by a tunnel.
func (p *Plan) GatewayOf(s *PlanSite) HostID {
	if s.Name == p.Self.Site {
		return ""
	}
	if id, ok := p.Acting[s.Name]; ok && slices.Contains(s.Gateways, id) && p.hasPeer(id) {
		return id
	}
	for _, id := range s.Gateways {
		if p.hasPeer(id) {
			return id
		}
	}
	return ""
}

func (p *Plan) hasPeer(id HostID) bool {
	_, ok := slices.BinarySearchFunc(p.Peers, id, func(peer Peer, id HostID) int {
		return strings.Compare(string(peer.ID), string(id))
	})
	return ok
}

// Behind are the networks of other sites by the peer through which the host reaches them: its allowed IPs and
// routes beside its own addresses. A prefix that is there twice is the first one's, and a default route is nobody's.
func (p *Plan) Behind() map[HostID][]netip.Prefix {
	if len(p.Sites) == 0 {
		return nil
	}
	out := map[HostID][]netip.Prefix{}
	taken := map[netip.Prefix]bool{}
	for i := range p.Sites {
		id := p.GatewayOf(&p.Sites[i])
		if id == "" {
			continue
		}
		for _, prefix := range p.Sites[i].Prefixes {
			if !taken[prefix] && prefix.IsValid() && !isDefault(prefix) {
				taken[prefix] = true
				out[id] = append(out[id], prefix)
			}
		}
	}
	return out
}
