package peers

import (
	"fmt"
	"net/netip"
	"slices"
)

// VirtualLabel and VirtualMetric mark virtual addresses of a site as ours, on a link that is not. IPv4 addresses have had
// labels in all kernels. Those of IPv6 have none, but since Linux 4.18 a metric for the route to their network
// (IFA_RT_PRIORITY), which a virtual address has not. The protocol of an address (IFA_PROTO), which would be the like of
// a route's, there is only since Linux 5.18.
const (
	VirtualLabel  = "wrn:vip"
	VirtualMetric = 0x77726e // "wrn"
)

// SetVirtual gives a link of the host's own the virtual address of its site, and tells the LAN where that is now.
type SetVirtual struct {
	Link    string
	Address netip.Addr
}

// DelVirtual takes it away.
type DelVirtual struct {
	Link    string
	Address netip.Addr
}

func (SetVirtual) step() {}
func (DelVirtual) step() {}

// String prints the step.
func (s SetVirtual) String() string { return "address add " + virtualText(s.Link, s.Address) }

// String prints the step.
func (s DelVirtual) String() string { return "address del " + virtualText(s.Link, s.Address) }

func virtualText(link string, a netip.Addr) string {
	if a.Is6() {
		return fmt.Sprintf("%v/128 dev %s metric %d", a, link, VirtualMetric)
	}
	return fmt.Sprintf("%v/32 dev %s label %s", a, link, VirtualLabel)
}

// virtual gives the host the virtual addresses of its site, or takes them away: see Plan.Virtual.
func (d *differ) virtual() {
	var want []SetVirtual
	for _, a := range []netip.Addr{d.plan.Virtual, d.plan.Virtual6} {
		if !a.IsValid() || a.Is6() && !d.state.IPv6 {
			continue
		}
		if link := d.state.LinkTo(a); link != "" {
			want = append(want, SetVirtual{Link: link, Address: a})
		}
	}
	for _, l := range d.state.Local {
		is := SetVirtual{Link: l.Link, Address: l.Prefix.Addr()}
		if i := slices.Index(want, is); i >= 0 {
			want = slices.Delete(want, i, i+1) // there, where somebody else has given it to the host, too
		} else if l.Virtual {
			d.move = append(d.move, DelVirtual(is))
		}
	}
	for _, s := range want {
		d.move = append(d.move, s)
	}
}
