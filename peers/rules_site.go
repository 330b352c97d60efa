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
	d.putSite(Site{Name: op.Name, Prefixes: slices.Clone(op.Prefixes), Gateways: slices.Clone(op.Gateways)})
}

func (d *draft) checkSitePrefix(at string, op SetSite, index int, p netip.Prefix) {
	if !p.IsValid() || p.Addr().Is4In6() {
		d.refuse("prefix-invalid", at, "", "%v is no prefix", p)
		return
	}
	d.checkRouted(at, p)
	for j, q := range op.Prefixes[:index] {
		if q.IsValid() && p.Overlaps(q) {
			d.refuse("site-overlap", at, "", "%v overlaps prefix %d of the same site, %v", p, j, q)
		}
	}
	for _, other := range d.next.sortedSites() {
		for _, q := range other.Prefixes {
			if other.Name != op.Name && p.Overlaps(q) {
				d.refuse("site-overlap", at, "", "%v of site %q overlaps %v of site %q", p, op.Name, q, other.Name)
			}
		}
	}
}

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
	case p.Overlaps(m.Overlay) || p.Overlaps(m.Overlay6):
		d.refuse("overlay-overlap", at, "", "%v overlaps the overlay", p)
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
