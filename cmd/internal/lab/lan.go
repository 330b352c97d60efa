package lab

import (
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// LANName is a host's link to its LAN.
const LANName = "lan0"

// A LANLink is how a host is on a LAN. The zero value is no LAN at all.
type LANLink struct {
	Segment   string         // one of the topology's LANs
	Addresses []netip.Prefix // on lan0; there may be none
	Only      bool           // the host has no link to the internet
	// Via are the next hops of the default routes, one of a family, of a host that is only on the LAN. They may be
	// addresses that nobody has, or that move.
	Via []netip.Addr
}

// checkLANs says what is wrong with the names of LANs.
func (t Topology) checkLANs() (problems []error) {
	for i, name := range t.LANs {
		if !validName.MatchString(name) {
			problems = append(problems, fmt.Errorf("LAN name %q: at most 15 of a-z, 0-9 and -, a letter first", name))
		}
		if slices.Contains(t.LANs[:i], name) {
			problems = append(problems, fmt.Errorf("LAN name %q is taken", name))
		}
	}
	return problems
}

func (k LANLink) check(host HostSpec, lans []string) error {
	switch {
	case k.Segment == "" && (k.Only || len(k.Addresses)+len(k.Via) > 0):
		return fmt.Errorf("host %q has a LAN link and no LAN", host.Name)
	case k.Segment != "" && !slices.Contains(lans, k.Segment):
		return fmt.Errorf("host %q is on the LAN %q, which the topology does not have", host.Name, k.Segment)
	case k.Only && (host.IPv4.IsValid() || host.IPv6.IsValid()):
		return fmt.Errorf("host %q is only on a LAN, and has an address on the internet", host.Name)
	case !k.Only && len(k.Via) > 0:
		return fmt.Errorf("host %q: its default routes are those to the internet", host.Name)
	}
	return nil
}

// A segment is a LAN: a bridge in a network namespace of its own.
type segment struct {
	name    string
	network *os.File // which lasts as long as this, or a link in it
}

const bridge = "bridge"

// newSegment makes a LAN without ports. It says nothing itself: it has no addresses, and passes on all multicast.
func newSegment(name string) (s *segment, err error) {
	s = &segment{name: name}
	err = onFreshThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("making a network namespace: %v", err)
		}
		if s.network, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		if haveIPv6() {
			if err := (settings{{"ipv6/conf/default/disable_ipv6", "1"}}).apply(); err != nil {
				return err
			}
		}
		snooping := false
		link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}, MulticastSnooping: &snooping}
		if err := netlink.LinkAdd(link); err != nil {
			return fmt.Errorf("making a bridge: %v", err)
		}
		return raise(bridge)
	})
	return s, err
}

// lan returns the LAN of that name, nil if there is none.
func (l *Lab) lan(name string) *segment {
	i := slices.IndexFunc(l.lans, func(s *segment) bool { return s.name == name })
	if i < 0 {
		return nil
	}
	return l.lans[i]
}

// OnLAN calls f on a thread that is in the LAN's namespace, where each host's port has the host's name. Not so in
// goroutines that f starts.
func (l *Lab) OnLAN(name string, f func() error) error {
	s := l.lan(name)
	if s == nil {
		return fmt.Errorf("the lab has no LAN %q", name)
	}
	return s.do(f)
}

func (s *segment) do(f func() error) error {
	return onFreshThread(func() error {
		if err := unix.Setns(int(s.network.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering LAN %s: %v", s.name, err)
		}
		return f()
	})
}

// joinLAN connects a host that has just booted with its LAN, by a port that has the fault which it had before.
func (h *Host) joinLAN(network *os.File) error {
	if h.lan == nil {
		return nil
	}
	err := h.lan.do(func() error {
		pair := &netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: h.spec.Name},
			PeerName:      LANName,
			PeerNamespace: netlink.NsFd(int(network.Fd())),
		}
		if err := netlink.LinkAdd(pair); err != nil {
			return fmt.Errorf("making a port of LAN %s: %v", h.lan.name, err)
		}
		return h.setPort()
	})
	if err != nil {
		return err
	}
	return h.Do(h.configureLAN)
}

// leaveLAN removes both ends of the link; it is no error if they are gone.
func (h *Host) leaveLAN() error {
	if h.lan == nil {
		return nil
	}
	return h.lan.do(func() error { return removeLink(h.spec.Name) })
}

// configureLAN gives lan0 its addresses and routes; the calling thread must be on the host.
func (h *Host) configureLAN() error {
	usable := func(a netip.Addr) bool { return a.Is4() || haveIPv6() }
	var addresses []netip.Prefix
	for _, a := range h.spec.LAN.Addresses {
		if usable(a.Addr()) {
			addresses = append(addresses, a)
		}
	}
	var hops []netip.Addr
	for _, a := range h.spec.LAN.Via {
		if usable(a) {
			hops = append(hops, a)
		}
	}
	if err := configure(LANName, addresses); err != nil {
		return err
	}
	return defaultRoutes(LANName, hops)
}

// LANIPv4 is the host's first IPv4 address on its LAN, or the zero Addr.
func (h *Host) LANIPv4() netip.Addr { return h.firstOnLAN(netip.Addr.Is4) }

// LANIPv6 is the host's first IPv6 address on its LAN, or the zero Addr if it has none or this machine has no IPv6.
func (h *Host) LANIPv6() netip.Addr {
	if !haveIPv6() {
		return netip.Addr{}
	}
	return h.firstOnLAN(netip.Addr.Is6)
}

func (h *Host) firstOnLAN(is func(netip.Addr) bool) netip.Addr {
	for _, a := range h.spec.LAN.Addresses {
		if is(a.Addr()) {
			return a.Addr()
		}
	}
	return netip.Addr{}
}
