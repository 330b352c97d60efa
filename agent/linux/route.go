package linux

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// Metrics of our routes. The kernel tells routes to one prefix apart by their metric, in IPv4 and IPv6, so
// with metrics that nobody else has, replacing a route can only replace ours, and a route to the same
// prefix that somebody else adds wins until the next Diff has seen it: a mesh never beats a host's own
// network. Both are far behind what distributions give (0 to 1024, NetworkManager up to 20,700).
const (
	LinkMetric     = 119_000       // through a tunnel
	BackstopMetric = 4_278_198_272 // unreachable: behind everything
)

// loopback is the index of the loopback in every network.
const loopback = 1

// A found route has no link name yet: while routes are read, nothing else can be asked.
type found struct {
	peers.Route
	ours bool
	near bool // the kernel added it for an address
	down bool // its link has no carrier
	link int  // 0 for one of ours that leads nowhere
}

// routes reads the main table of a family: what is ours and what others have.
func (k *Kernel) routes(s *peers.State, family int, own map[int]string) error {
	var all []found
	_, err := dump(func() (struct{}, error) {
		all = all[:0]
		filter := &netlink.Route{Table: unix.RT_TABLE_MAIN}
		return struct{}{}, k.rt.RouteListFilteredIter(family, filter, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
			if f := find(&r); f.ours || own[f.link] == "" && counts(&r, f.Prefix) {
				all = append(all, f)
			}
			return true
		})
	})
	if errors.Is(err, unix.ENOENT) {
		return nil // the kernel makes the table with its first route
	}
	if err != nil {
		return fmt.Errorf("read routes: %v", err)
	}
	names := maps.Clone(own)
	for i := range all {
		f := &all[i]
		if !f.ours {
			s.Foreign = append(s.Foreign, peers.Foreign{
				Prefix: f.Prefix, Link: k.nameOf(f.link, names), Connected: f.near, Down: f.down,
			})
			continue
		}
		if f.link != 0 {
			f.Link = k.nameOf(f.link, names)
		}
		s.Routes = append(s.Routes, f.Route)
	}
	return nil
}

// find takes over what matters of a route.
func find(r *netlink.Route) found {
	f := found{
		ours: r.Protocol == peers.RouteProtocol, near: r.Protocol == unix.RTPROT_KERNEL, link: r.LinkIndex,
		down: r.Flags&(unix.RTNH_F_LINKDOWN|unix.RTNH_F_DEAD) != 0,
	}
	f.Prefix = prefixOf(r.Dst).Masked()
	if source, ok := netip.AddrFromSlice(r.Src); ok {
		f.Source = source.Unmap()
	}
	f.MTU = r.MTU
	if f.link == 0 && len(r.MultiPath) > 0 {
		f.link = r.MultiPath[0].LinkIndex // the first of several
	}
	if f.ours && r.Type != unix.RTN_UNICAST {
		f.link = 0 // IPv6 says the loopback
	}
	return f
}

// counts says whether a route of somebody else claims a network. A default route does not, and neither do
// its halves (0.0.0.0/1 and 128.0.0.0/1, 2000::/3), which VPN clients use in its place: they mean
// "whatever nobody else claims".
func counts(r *netlink.Route, prefix netip.Prefix) bool {
	if !prefix.IsValid() {
		return false
	}
	switch r.Type {
	case unix.RTN_UNREACHABLE, unix.RTN_BLACKHOLE, unix.RTN_PROHIBIT:
	case unix.RTN_UNICAST:
		if r.LinkIndex == loopback {
			return false
		}
	default:
		return false
	}
	addr := prefix.Addr()
	if addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsLoopback() {
		return false
	}
	if addr.Is4() {
		return prefix.Bits() > 1
	}
	return prefix.Bits() > 3
}

// nameOf is the name of a link. One that has just gone keeps its number.
func (k *Kernel) nameOf(index int, names map[int]string) string {
	if index == 0 {
		index = loopback // unreachable routes of IPv4, as those of IPv6
	}
	if name := names[index]; name != "" {
		return name
	}
	name := fmt.Sprintf("if%d", index)
	if link, err := k.rt.LinkByIndex(index); err == nil {
		name = link.Attrs().Name
	}
	names[index] = name
	return name
}

func (k *Kernel) setRoute(s peers.SetRoute) error {
	r := routeTo(s.Route)
	if s.Route.Link != "" {
		link, _, err := k.ours(s.Route.Link)
		if err != nil {
			return err
		}
		r.LinkIndex = link.Attrs().Index
	}
	return explain(k.wrote(k.rt.RouteReplace(r)))
}

// routeTo is a route of ours as the kernel takes it, without its link.
func routeTo(r peers.Route) *netlink.Route {
	out := &netlink.Route{
		Dst:      ipNet(r.Prefix),
		Protocol: peers.RouteProtocol,
		Table:    unix.RT_TABLE_MAIN,
		Priority: LinkMetric,
		Type:     unix.RTN_UNICAST,
		Scope:    netlink.SCOPE_LINK,
	}
	if r.Source.IsValid() {
		out.Src = r.Source.AsSlice()
	}
	// Unless it is locked, an MTU of an IPv6 route does not count for what is forwarded: that would go into
	// the tunnel and be lost, instead of being refused with a word to its sender.
	out.MTU, out.MTULock = r.MTU, r.MTU != 0 && r.Prefix.Addr().Is6()
	if r.Link == "" {
		out.Type, out.Priority, out.Scope = unix.RTN_UNREACHABLE, BackstopMetric, netlink.SCOPE_UNIVERSE
	}
	return out
}

// delRoute removes a route with our metric, or else one of ours with another metric.
func (k *Kernel) delRoute(s peers.DelRoute) error {
	r := routeTo(s.Route)
	r.Scope = netlink.SCOPE_NOWHERE // of any scope
	if s.Route.Link != "" {
		link, ok := k.known[s.Route.Link]
		if !ok {
			there, err := k.lookup(s.Route.Link)
			if err != nil || there == nil {
				return err // a route goes with its link
			}
			link.Link = there
		}
		r.LinkIndex = link.Attrs().Index
	}
	err := k.wrote(k.rt.RouteDel(r))
	if errors.Is(err, unix.ESRCH) {
		r.Priority, r.Src, r.MTU, r.MTULock = 0, nil, 0, false
		err = k.wrote(k.rt.RouteDel(r))
	}
	return gone(err)
}
