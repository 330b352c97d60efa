package peers

import (
	"fmt"
	"net/netip"
)

// conflict finds the foreign network that a prefix of ours equals, contains or lies within. Half of all
// addresses is no network but one of the two halves of a default route: VPN clients that take all
// traffic set it like that, and longer prefixes are meant to win against it.
func conflict(p netip.Prefix, foreign []Foreign) (Foreign, bool) {
	for _, f := range foreign {
		if f.Prefix.Bits() > 1 && f.Prefix.Overlaps(p) {
			return f, true
		}
	}
	return Foreign{}, false
}

// isDefault tells a default route, and the parts in which VPN clients set one (0.0.0.0/1 and 128.0.0.0/1, 2000::/3).
// A mesh takes none from a host.
func isDefault(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return p.Bits() <= 1
	}
	return p.Bits() <= 3
}

// addressTaken finds the foreign network that the host's own mesh address lies in. There somebody else can have the
// address, whom the host could not reach any more.
func addressTaken(own netip.Addr, foreign []Foreign) (Foreign, bool) {
	if !own.IsValid() {
		return Foreign{}, false
	}
	return conflict(netip.PrefixFrom(own, own.BitLen()), foreign)
}

// Conflicts reports which prefixes of a plan a host does not get because it has routes of its own there.
// Diff leaves the same ones out: a mesh never beats a host's own network.
func Conflicts(p Plan, foreign []Foreign) Problems {
	problems := OverlayConflicts(foreign, p.Mesh.Overlay, p.Mesh.Overlay6)
	for _, own := range []netip.Addr{p.Self.Address, p.Self.Address6} {
		if f, taken := addressTaken(own, foreign); taken {
			problems.addf("route-conflict", "address/"+own.String(),
				fmt.Sprintf("renumber that network, or look at: ip route show dev %s", f.Link),
				"this host is without its mesh address %v, which lies in %v on %s", own, f.Prefix, f.Link)
		}
	}
	for _, peer := range p.Peers {
		for _, prefix := range peer.Prefixes {
			if isDefault(prefix) {
				problems.addf("route-conflict", "prefix/"+prefix.String(), "name the networks behind "+peer.Name+" one by one",
					"%v of %s is not routed: the default route is this host's own", prefix, peer.Name)
				continue
			}
			if p.Mesh.Overlay.Overlaps(prefix) || p.Mesh.Overlay6.Overlaps(prefix) {
				continue // said for the overlay as a whole
			}
			if f, taken := conflict(prefix, foreign); taken {
				problems.addf("route-conflict", "prefix/"+prefix.String(),
					fmt.Sprintf("renumber one of them, or look at: ip route show dev %s", f.Link),
					"%v of %s is not routed: this host has %v on %s", prefix, peer.Name, f.Prefix, f.Link)
			}
		}
	}
	return append(problems, p.siteConflicts(foreign)...)
}

// siteConflicts reports which networks of other sites a host does not reach.
func (p *Plan) siteConflicts(foreign []Foreign) Problems {
	var problems Problems
	for i := range p.Sites {
		site := &p.Sites[i]
		if site.Name == p.Self.Site {
			continue
		}
		for _, prefix := range site.Prefixes {
			if f, taken := conflict(prefix, foreign); taken {
				problems.addf("route-conflict", "prefix/"+prefix.String(),
					fmt.Sprintf("give it an alias: warren site set %s --prefix %v --as PREFIX; or look at: ip route show dev %s",
						site.Name, prefix, f.Link),
					"%v of site %s is not routed: this host has %v on %s", prefix, site.Name, f.Prefix, f.Link)
			}
		}
	}
	return problems
}

// OverlayConflicts reports where a host has networks of its own in overlay ranges. A host must not
// enrol in such a mesh.
func OverlayConflicts(foreign []Foreign, overlays ...netip.Prefix) Problems {
	var problems Problems
	for _, overlay := range overlays {
		if f, taken := conflict(overlay, foreign); taken {
			problems.addf("route-conflict", "overlay/"+overlay.String(),
				"create the mesh with another --overlay, or renumber "+f.Link,
				"the overlay %v overlaps %v, which this host has on %s", overlay, f.Prefix, f.Link)
		}
	}
	return problems
}
