package peers

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

func (op SetSite) apply(d *draft) {
	at := "site/" + op.Name
	d.checkName(at, op.Name)
	for i, p := range op.Prefixes {
		d.checkSitePrefix(fmt.Sprintf("%s/prefixes/%d", at, i), op, i, p)
	}
	for i, name := range op.Gateways {
		where := fmt.Sprintf("%s/gateways/%d", at, i)
		h, ok := d.next.HostNamed(name)
		switch {
		case !ok:
			d.refuse("host-unknown", where, "warren host ls", "there is no host %.80q", name)
		case h.Site != op.Name:
			d.refuse("gateway-site", where, "", "host %q belongs to site %q", name, h.Site)
		case slices.Index(op.Gateways, name) != i:
			d.refuse("gateway-twice", where, "", "host %q is named twice", name)
		}
	}
	d.checkVirtual(at+"/virtual_ip", op, op.Virtual, false)
	d.checkVirtual(at+"/virtual_ip6", op, op.Virtual6, true)
	d.checkLANCheck(at, op)
	d.putSite(Site{
		Name: op.Name, Prefixes: slices.Clone(op.Prefixes), Gateways: slices.Clone(op.Gateways), Virtual: op.Virtual,
		Virtual6: op.Virtual6, LANCheck: slices.Clone(op.LANCheck),
	})
}

// checkVirtual checks a virtual address of a site: one of its LAN, of which no host is known to have it.
func (d *draft) checkVirtual(at string, op SetSite, virtual netip.Addr, six bool) {
	if !virtual.IsValid() {
		return
	}
	within := slices.IndexFunc(op.Prefixes, func(p SitePrefix) bool { return p.Prefix.IsValid() && p.Prefix.Contains(virtual) })
	switch {
	case virtual.Is6() != six:
		d.refuse("virtual-ip", at, "", "%v is of the other family: virtual_ip is an IPv4 address, virtual_ip6 an IPv6 address", virtual)
		return
	case within < 0:
		d.refuse("virtual-ip", at, "warren site show "+op.Name, "%v is in no network of the site", virtual)
		return
	case len(op.Gateways) == 0:
		d.refuse("virtual-ip", at, "warren site set "+op.Name+" --gateway HOST",
			"%v would be nobody's: the site has no gateway", virtual)
	}
	// The first one of a network is that of all its routers, in IPv6 (RFC 4291 section 2.6.1), which has no broadcast.
	if r := RangeOf(op.Prefixes[within].Prefix); r.First == virtual || r.Last == virtual && !six {
		d.refuse("virtual-ip", at, "", "%v is the first or the last address of %v, which no host can have",
			virtual, op.Prefixes[within].Prefix)
	}
	for _, h := range d.next.SortedHosts() {
		if slices.ContainsFunc(h.Endpoints, func(e Endpoint) bool { return e.Address.Addr() == virtual }) {
			d.refuse("virtual-ip", at, "", "%v is the address of host %q", virtual, h.Name)
		}
	}
}

func (d *draft) checkSitePrefix(at string, op SetSite, index int, p SitePrefix) {
	usable := d.checkNetwork(at, p.Prefix)
	if p.As != (netip.Prefix{}) {
		usable = d.checkNetwork(at, p.As) && usable
		d.checkAlias(at, p)
	}
	if !usable {
		return
	}
	for j, q := range op.Prefixes[:index] {
		if a, b, ok := p.collides(q); ok {
			d.refuse("site-overlap", at, "", "%v overlaps prefix %d of the same site, %v", a, j, b)
		} else if p.Prefix.Overlaps(q.Prefix) {
			d.refuse("site-overlap", at, "", "%v overlaps prefix %d of the same site, %v", p.Prefix, j, q.Prefix)
		}
	}
	for _, other := range d.next.sortedSites() {
		for _, q := range other.Prefixes {
			if a, b, ok := p.collides(q); ok && other.Name != op.Name {
				d.refuse("site-overlap", at, aliasHint(op.Name, other.Name, p, q),
					"%v of site %q overlaps %v of site %q", a, op.Name, b, other.Name)
			}
		}
	}
	d.checkHosts(at, op, p)
}

// aliasHint is how two sites that have the same network get along: each needs an alias for its own, because
// to its own hosts the network of the other one is theirs.
func aliasHint(site, other string, p, q SitePrefix) string {
	switch {
	case !p.As.IsValid() && p.Prefix.Overlaps(q.Prefix):
		return fmt.Sprintf("give each an alias, a free network of the same size, %s first: warren site set %s --prefix %v --as PREFIX",
			other, other, q.Prefix)
	case !q.As.IsValid() && p.Prefix.Overlaps(q.Prefix):
		return fmt.Sprintf("%s needs an alias as well: warren site set %s --prefix %v --as PREFIX", other, other, q.Prefix)
	}
	return fmt.Sprintf("choose another alias: warren site show %s; warren site show %s", site, other)
}

// collides finds prefixes of two networks that hosts could not tell apart. Two that are called the same in their
// own sites get along where both have aliases.
func (p SitePrefix) collides(q SitePrefix) (a, b netip.Prefix, ok bool) {
	for _, pair := range [][2]netip.Prefix{{p.Known(), q.Known()}, {p.Known(), q.Prefix}, {p.Prefix, q.Known()}} {
		if pair[0].Overlaps(pair[1]) {
			return pair[0], pair[1], true
		}
	}
	return netip.Prefix{}, netip.Prefix{}, false
}

// checkNetwork checks a prefix by itself and against the overlay, and reports whether it can be compared.
func (d *draft) checkNetwork(at string, p netip.Prefix) bool {
	if !p.IsValid() || p.Addr().Is4In6() {
		d.refuse("prefix-invalid", at, "", "%v is no prefix", p)
		return false
	}
	d.checkRouted(at, p)
	return true
}

// checkAlias checks that each address of a network has one of its alias.
func (d *draft) checkAlias(at string, p SitePrefix) {
	switch {
	case p.Prefix.Addr().Is4() != p.As.Addr().Is4() || p.Prefix.Bits() != p.As.Bits():
		d.refuse("alias-size", at, fmt.Sprintf("choose one of length /%d", p.Prefix.Bits()),
			"the alias %v is not of the size of %v: each address must have one of its own", p.As, p.Prefix)
	case p.Prefix.Overlaps(p.As):
		d.refuse("alias-overlap", at, "", "the alias %v overlaps %v itself", p.As, p.Prefix)
	}
}

// mostInside bounds how many hosts that are in the way are named.
const mostInside = 5

// checkHosts checks that hosts of other sites are not in the network: they would not reach it, and nobody
// would reach them.
func (d *draft) checkHosts(at string, op SetSite, p SitePrefix) {
	known, inside := p.Known(), 0
	for _, h := range d.next.SortedHosts() {
		if h.Site == op.Name || h.State == HostRevoked || known.Bits() == 0 || inside == mostInside {
			continue
		}
		for _, e := range h.Endpoints {
			if known.Contains(e.Address.Addr()) {
				d.refuse("host-inside", at,
					fmt.Sprintf("give the network an alias: warren site set %s --prefix %v --as PREFIX", op.Name, p.Prefix),
					"host %q of site %q has the address %v, which lies in %v", h.Name, h.Site, e.Address.Addr(), known)
				inside++
				break
			}
		}
	}
}

const overlayHint = "choose another network: a mesh keeps its overlay; for a new one: warren-controller run --overlay"

// checkRouted checks that a prefix can be routed into a tunnel.
func (d *draft) checkRouted(at string, p netip.Prefix) {
	m := d.next.Mesh
	switch {
	case p != p.Masked():
		d.refuse("prefix-invalid", at, fmt.Sprintf("write %v", p.Masked()),
			"%v is no network: it has bits set behind its length", p)
	case p.Bits() == 0:
		d.refuse("prefix-default", at, "", "a site cannot have the default route")
	case p.Addr().IsMulticast() || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast():
		d.refuse("prefix-invalid", at, "", "%v is never routed", p)
	case p.Overlaps(m.Overlay):
		d.refuse("overlay-overlap", at, overlayHint, "%v overlaps the overlay of the mesh, %v", p, m.Overlay)
	case p.Overlaps(m.Overlay6):
		d.refuse("overlay-overlap", at, overlayHint, "%v overlaps the overlay of the mesh, %v", p, m.Overlay6)
	}
}

func (op RemoveSite) apply(d *draft) {
	at := "site/" + op.Name
	if d.next.Sites[op.Name] == nil {
		d.refuse("site-unknown", at, "", "there is no such site")
		return
	}
	for _, h := range d.next.SortedHosts() {
		if h.Site == op.Name {
			d.refuse("site-used", at, "warren host rm "+h.Name, "host %q belongs to it", h.Name)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(d.next.Tokens)) {
		t := d.next.Tokens[id]
		if t.Site == op.Name && t.Valid(t.Name, d.change.At) == nil {
			d.refuse("site-used", at, "warren token revoke "+t.ID, "token %s admits hosts to it", t.ID)
		}
	}
	d.dropSite(op.Name)
}
