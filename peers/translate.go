package peers

import (
	"fmt"
	"net/netip"
)

// A Translation is what a gateway does to the addresses of packets between a network of its site and the mesh.
// It follows from the packet alone, so each gateway of a site does the same, and a connection that goes over from one
// to another one goes on.
type Translation struct {
	Prefix netip.Prefix // as the site has it
	As     netip.Prefix // as the mesh knows it: address for address; zero for the same
	SNAT   bool         // to the site, packets of the mesh come from the gateway
}

// odd tells a translation that cannot be made into rules.
func (t Translation) odd() bool {
	return !t.Prefix.IsValid() || t.As.IsValid() && (t.As.Bits() != t.Prefix.Bits() || t.As.Addr().Is4() != t.Prefix.Addr().Is4())
}

// translations are those of a host; nil for one that forwards nothing, or translates nothing of it.
func (p *Plan) translations() (out []Translation) {
	for _, n := range p.Forwards() {
		if n.As.IsValid() || n.SNAT {
			out = append(out, Translation(n))
		}
	}
	return out
}

// aliases are the prefixes that the host's own site is known by and does not have. To the site itself they are
// nobody's, so nothing for them leaves a host but into a tunnel.
func (p *Plan) aliases() (out []netip.Prefix) {
	if own := p.OwnSite(); own != nil {
		for _, n := range own.Networks {
			if n.As.IsValid() {
				out = append(out, n.As)
			}
		}
	}
	return out
}

// nat prints the chains that translate. The policy sees the addresses that the mesh knows: it looks at packets from
// tunnels before the first, and at packets into tunnels behind the second.
func (t *guardText) nat(all []Translation) {
	var in, out []string
	for _, n := range all {
		family := familyOf(n.Prefix.Addr().Is6())
		if n.As.IsValid() {
			in = append(in, fmt.Sprintf(`iifname "wrn*" %s daddr %v dnat %s prefix to %v`, family, n.As, family, n.Prefix))
			out = append(out, fmt.Sprintf(`oifname "wrn*" %s saddr %v snat %s prefix to %v`, family, n.Prefix, family, n.As))
		}
		if n.SNAT {
			out = append(out, fmt.Sprintf(`iifname "wrn*" %s daddr %v masquerade`, family, n.Prefix))
		}
	}
	t.natChain("unalias", "prerouting", "dstnat", in)
	t.natChain("alias", "postrouting", "srcnat", out)
}

func (t *guardText) natChain(name, hook, priority string, rules []string) {
	if len(rules) == 0 {
		return
	}
	t.line(1, "chain %s {", name)
	t.line(2, "type nat hook %s priority %s; policy accept;", hook, priority)
	t.rules(rules)
}
