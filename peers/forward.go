package peers

import (
	"fmt"
	"net/netip"
	"slices"
)

// A Forwarding says of a link, ours or not, whether the kernel forwards what comes in by it.
type Forwarding struct {
	Link       string
	IPv4, IPv6 bool // it does
	// Ours4 and Ours6 say that it does because we have it do so. It is noted on the link itself, so that it lasts
	// exactly as long as the setting, whatever becomes of us and our files.
	Ours4, Ours6 bool
}

// A Forward6 is what a kernel can do about forwarding IPv6.
type Forward6 int

// What kernels can do. Before Linux 6.17 there is one switch for all links, which also changes how a host takes its
// own addresses and routes from routers: that is for the host's operator to turn.
const (
	Forward6Each Forward6 = iota // for each link by itself
	Forward6All                  // it does so on all links already
	Forward6None                 // not without the switch for all
)

// SetForwarding has the kernel forward what comes in by a link, or ends that where it was ours. Where everything is
// forwarded on this host by now, ending it only takes back that it was ours.
type SetForwarding struct {
	Link string
	IPv6 bool
	On   bool
}

func (SetForwarding) step() {}

// String prints the step.
func (s SetForwarding) String() string {
	family, on := "ipv4", 0
	name := "forwarding"
	if s.IPv6 {
		family, name = "ipv6", "force_forwarding"
	}
	if s.On {
		on = 1
	}
	return fmt.Sprintf("sysctl net.%s.conf.%s.%s=%d", family, s.Link, name, on)
}

// forwarding has a gateway forward between its site and the mesh, and nothing else: what comes in by the links that
// lead to networks of the site, and by ours. What a host that is no gateway any more has of it goes.
func (d *differ) forwarding() {
	have := make(map[string]Forwarding, len(d.state.Forwarding))
	for _, f := range d.state.Forwarding {
		have[f.Link] = f
	}
	for _, ipv6 := range []bool{false, true} {
		want := d.forwardedLinks(ipv6)
		for _, link := range want {
			if f := have[link]; !f.on(ipv6) && (!ipv6 || d.state.Forward6 == Forward6Each) {
				d.build = append(d.build, SetForwarding{Link: link, IPv6: ipv6, On: true})
			}
		}
		for _, f := range d.state.Forwarding {
			if f.ours(ipv6) && !slices.Contains(want, f.Link) && !d.goes(f.Link) {
				d.shrink = append(d.shrink, SetForwarding{Link: f.Link, IPv6: ipv6})
			}
		}
	}
}

// goes reports whether a link is ours and not planned: it takes its settings with it.
func (d *differ) goes(link string) bool {
	return d.links[link] != nil && !slices.ContainsFunc(d.plan.Interfaces, func(in Interface) bool { return in.Name == link })
}

func (f *Forwarding) on(ipv6 bool) bool   { return ipv6 && f.IPv6 || !ipv6 && f.IPv4 }
func (f *Forwarding) ours(ipv6 bool) bool { return ipv6 && f.Ours6 || !ipv6 && f.Ours4 }

// forwardedLinks are the links by which packets between the site and the mesh come in, in order.
func (d *differ) forwardedLinks(ipv6 bool) (out []string) {
	if ipv6 && !d.state.IPv6 {
		return nil
	}
	some := false
	for _, n := range d.plan.Forwards() {
		if n.Prefix.Addr().Is6() != ipv6 {
			continue
		}
		some = true
		for _, link := range d.state.linksTo(n.Prefix) {
			if !slices.Contains(out, link) {
				out = append(out, link)
			}
		}
	}
	for i := range d.plan.Interfaces {
		if in := &d.plan.Interfaces[i]; some && d.has(in) {
			out = append(out, in.Name)
		}
	}
	slices.Sort(out)
	return out
}

// linksTo are the links on which the host has a network or parts of it; where it has none, that of the narrowest
// network around it.
func (s *State) linksTo(network netip.Prefix) (out []string) {
	around := -1
	for _, f := range s.Foreign {
		switch {
		case f.Link == "lo" || !f.Prefix.Overlaps(network) || isDefault(f.Prefix):
		case f.Prefix.Bits() >= network.Bits():
			if around >= 0 {
				out, around = nil, -1
			}
			out = append(out, f.Link)
		case len(out) > 0 && around < 0 || f.Prefix.Bits() < around:
		case f.Prefix.Bits() > around:
			out, around = []string{f.Link}, f.Prefix.Bits()
		default:
			out = append(out, f.Link)
		}
	}
	return out
}

// CodeForwarding is the code of what keeps a gateway from forwarding.
const CodeForwarding = "forwarding"

// ForwardingProblems tells what keeps a gateway from forwarding; nothing of other hosts.
func ForwardingProblems(p *Plan, s *State) Problems {
	var problems Problems
	for _, n := range p.Forwards() {
		at := "prefix/" + n.Prefix.String()
		is6 := n.Prefix.Addr().Is6()
		switch {
		case is6 && !s.IPv6:
			problems.addf(CodeForwarding, at, "", "this gateway does not forward to %v: it has no IPv6", n.Prefix)
		case len(s.linksTo(n.Prefix)) == 0:
			problems.addf(CodeForwarding, at, "give it an address there, or: warren site set "+p.Self.Site+" --gateway HOST",
				"this gateway is not in %v and has no route to it: what the mesh sends there goes nowhere", n.Prefix)
		case is6 && s.Forward6 == Forward6None:
			problems.addf(CodeForwarding, at,
				"where addresses come from routers (RA): sysctl -w net.ipv6.conf.IFACE.accept_ra=2 first; "+
					"then: sysctl -w net.ipv6.conf.all.forwarding=1; and keep both in /etc/sysctl.d",
				"this gateway does not forward to %v: its kernel, older than 6.17, forwards IPv6 on all interfaces or on none", n.Prefix)
		}
		if guard := p.Guard(); (n.As.IsValid() || n.SNAT) && guard.Wall == nil {
			problems.addf(CodeForwarding, at, "run the agent without --firewall off",
				"this gateway does not translate %v: its firewall is off", n)
		}
	}
	return problems
}
