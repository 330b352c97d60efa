package doctor

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/warren-mesh/warren/peers/wire"
)

// mostRemote bounds how many networks of others are asked about, for each of a gateway's own.
const mostRemote = 8

// A passage is one direction in which a gateway forwards.
type passage struct {
	from, to netip.Prefix
	in, out  string // links
}

// passages are those between the networks behind this host and what it reaches through the tunnels. It is empty on
// hosts that are no gateway.
func (p *patient) passages() (out []passage) {
	for _, own := range p.plan.Forwards() {
		lan := p.linkOf(own.Prefix)
		remote := p.remote(own.Prefix)
		if own.Prefix.Addr().Is6() && !p.state.IPv6 || lan == "" {
			continue
		}
		for _, in := range p.plan.Interfaces {
			for _, far := range remote[:min(mostRemote, len(remote))] {
				out = append(out, passage{own.Prefix, far, lan, in.Name}, passage{far, own.Prefix, in.Name, lan})
			}
		}
	}
	return out
}

// linkOf is the link by which this host reaches a network that is not in the mesh; empty for none.
func (p *patient) linkOf(network netip.Prefix) string {
	best, link := -1, ""
	for _, f := range p.state.Foreign {
		if f.Prefix.Bits() > best && f.Prefix.Overlaps(network) {
			best, link = f.Prefix.Bits(), f.Link
		}
	}
	return link
}

// remote are the networks of the family of this one that are reached through tunnels: other sites', then the mesh itself.
func (p *patient) remote(own netip.Prefix) (out []netip.Prefix) {
	for _, site := range p.plan.Sites {
		if site.Name != p.plan.Self.Site {
			out = append(out, site.Prefixes...)
		}
	}
	out = append(out, p.plan.Mesh.Overlay, p.plan.Mesh.Overlay6)
	kept := out[:0]
	for _, far := range out {
		if far.IsValid() && far.Addr().Is4() == own.Addr().Is4() {
			kept = append(kept, far)
		}
	}
	return kept
}

// forwarded looks for chains of others that drop what this host forwards between its networks and the mesh.
func (d *Doctor) forwarded(p *patient) []wire.Finding {
	var out []wire.Finding
	named := map[string]bool{}
	passages := p.passages()
	for _, w := range passages {
		chain, by, err := d.DropsForwarded(w.from, w.to, w.in, w.out)
		key := strings.Join([]string{w.in, chain, by}, " ")
		words := strings.Fields(chain)
		switch {
		case err != nil:
			return append(out, finding("firewall", skipped, "nft list ruleset", "the rules of this host cannot be read: %v", err))
		case len(words) != 3 || named[key]:
			continue
		}
		named[key] = true
		hint := fmt.Sprintf("nft insert rule %s iifname %s oifname %s accept; and the same in what makes that table",
			chain, w.in, w.out)
		if words[1] == "filter" && words[2] == "FORWARD" {
			hint += fmt.Sprintf(": where that is docker, iptables -I DOCKER-USER -i %s -o %s -j ACCEPT", w.in, w.out)
		}
		out = append(out, finding("firewall", failed, hint, "what this host forwards from %v on %s to %v on %s is dropped in "+
			"table %s %s, chain %s, by %s", w.from, w.in, w.to, w.out, words[0], words[1], words[2], ofWhat(by)))
	}
	if len(passages) > 0 && len(out) == 0 {
		out = append(out, finding("firewall", ok, "", "no rule of nftables drops for certain what this host forwards for its site"))
	}
	return out
}

// ofWhat says what drops packets in a chain.
func ofWhat(by string) string { return map[string]string{"policy": "its policy", "rule": "a rule"}[by] }
