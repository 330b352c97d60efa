package linux

import (
	"errors"
	"fmt"
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

// routes reads the main tables: what is ours and what others have.
func (k *Kernel) routes(s *peers.State, family int, own map[int]string) error {
	all, err := dump(func() ([]netlink.Route, error) {
		return k.rt.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	})
	if errors.Is(err, unix.ENOENT) {
		return nil // the kernel makes the table with its first route
	}
	if err != nil {
		return fmt.Errorf("read routes: %v", err)
	}
	names := map[int]string{}
	for i := range all {
		r := &all[i]
		prefix := prefixOf(r.Dst)
		if r.Protocol == peers.RouteProtocol {
			s.Routes = append(s.Routes, ourRoute(r, prefix, own))
			continue
		}
		index := outOf(r)
		if _, ours := own[index]; ours || !counts(r, prefix) {
			continue
		}
		f := peers.Foreign{Prefix: prefix.Masked(), Link: k.nameOf(index, names)}
		if f.Link == "lo" && r.Type == unix.RTN_UNICAST {
			continue
		}
		s.Foreign = append(s.Foreign, f)
	}
	return nil
}

func ourRoute(r *netlink.Route, prefix netip.Prefix, own map[int]string) peers.Route {
	out := peers.Route{Prefix: prefix}
	if r.Type == unix.RTN_UNICAST {
		out.Link = own[outOf(r)]
	}
	if source, ok := netip.AddrFromSlice(r.Src); ok {
		out.Source = source.Unmap()
	}
	return out
}

// counts says whether a route of somebody else claims a network. A default route does not, and neither do
// its halves (0.0.0.0/1 and 128.0.0.0/1, 2000::/3), which VPN clients use in its place: they mean
// "whatever nobody else claims".
func counts(r *netlink.Route, prefix netip.Prefix) bool {
	if !prefix.IsValid() {
		return false
	}
	switch r.Type {
	case unix.RTN_UNICAST, unix.RTN_UNREACHABLE, unix.RTN_BLACKHOLE, unix.RTN_PROHIBIT:
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

// outOf is the link that a route leads to, the first of several.
func outOf(r *netlink.Route) int {
	if r.LinkIndex == 0 && len(r.MultiPath) > 0 {
		return r.MultiPath[0].LinkIndex
	}
	return r.LinkIndex
}

// nameOf names a link of somebody else. One that has just gone keeps its number.
func (k *Kernel) nameOf(index int, names map[int]string) string {
	if index == 0 {
		return "lo" // unreachable routes of IPv4; those of IPv6 say so themselves
	}
	if name, ok := names[index]; ok {
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
		r.Priority, r.Src = 0, nil
		err = k.wrote(k.rt.RouteDel(r))
	}
	return gone(err)
}
