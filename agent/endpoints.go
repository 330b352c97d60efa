package agent

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/warren-mesh/warren/peers"
)

// maxCandidates is what a controller takes from one host.
const maxCandidates = 16

// isInside tells by its name an interface that nobody reaches a host by from outside: ours, and those of
// containers and virtual machines.
func isInside(name string) bool {
	return slices.ContainsFunc([]string{
		"wrn", "docker", "br-", "veth", "virbr", "vnet", "cni", "cali", "flannel", "podman", "lxcbr", "lxdbr",
	}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// LocalAddresses lists the addresses by which others might reach this host.
func LocalAddresses() ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, in := range interfaces {
		if isInside(in.Name) || in.Flags&net.FlagUp == 0 {
			continue
		}
		addresses, err := in.Addrs()
		if err != nil {
			continue // the interface has gone in the meantime
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
				out = append(out, p.Addr().Unmap())
			}
		}
	}
	return out, nil
}

// candidates are the endpoints to tell the controller: what the operator says, then what the host has.
func candidates(local []netip.Addr, pinned []peers.Endpoint, port uint16, overlays []netip.Prefix) []peers.Endpoint {
	out := append([]peers.Endpoint{}, pinned...)
	for _, a := range slices.Compact(slices.SortedFunc(slices.Values(local), netip.Addr.Compare)) {
		inside := slices.ContainsFunc(overlays, func(p netip.Prefix) bool { return p.Contains(a) })
		at := netip.AddrPortFrom(a, port)
		told := slices.ContainsFunc(pinned, func(e peers.Endpoint) bool { return e.Address == at })
		if !inside && !told {
			out = append(out, peers.Endpoint{Kind: peers.EndpointLocal, Address: at})
		}
	}
	return out[:min(len(out), maxCandidates)]
}

// overlays are addresses that are not the host's own, or not for long: the ranges of the mesh, and the virtual addresses
// of its site.
func (l *loop) overlays() []netip.Prefix {
	if l.plan == nil {
		return nil
	}
	out := []netip.Prefix{l.plan.want.Mesh.Overlay, l.plan.want.Mesh.Overlay6}
	own := l.plan.want.OwnSite()
	if own == nil {
		return out
	}
	for _, a := range []netip.Addr{own.Virtual, own.Virtual6} {
		if a.IsValid() {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return out
}
