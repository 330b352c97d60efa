package peers

import (
	"fmt"
	"net/netip"
)

// VirtualLabel marks the virtual address of a site as ours, on a link that is not. IPv4 addresses have had labels in
// all kernels; the protocol of an address (IFA_PROTO), which would be the like of a route's, only since Linux 5.18.
const VirtualLabel = "wrn:vip"

// SetVirtual gives a link of the host's own the virtual address of its site, and tells the LAN where that is now.
type SetVirtual struct {
	Link    string
	Address netip.Addr // IPv4
}

// DelVirtual takes it away.
type DelVirtual struct {
	Link    string
	Address netip.Addr
}

func (SetVirtual) step() {}
func (DelVirtual) step() {}

// String prints the step.
func (s SetVirtual) String() string {
	return fmt.Sprintf("address add %v/32 dev %s label %s", s.Address, s.Link, VirtualLabel)
}

// String prints the step.
func (s DelVirtual) String() string {
	return fmt.Sprintf("address del %v/32 dev %s label %s", s.Address, s.Link, VirtualLabel)
}

// virtual gives the host the virtual address of its site, or takes it away: see Plan.Virtual.
func (d *differ) virtual() {
	want, link := d.plan.Virtual, ""
	if want.IsValid() {
		link = d.state.LinkTo(want)
	}
	there := false
	for _, l := range d.state.Local {
		switch {
		case l.Prefix.Addr() == want && link == l.Link:
			there = true // where somebody else has given it to the host, too
		case l.Virtual:
			d.move = append(d.move, DelVirtual{Link: l.Link, Address: l.Prefix.Addr()})
		}
	}
	if link != "" && !there {
		d.move = append(d.move, SetVirtual{Link: link, Address: want})
	}
}
