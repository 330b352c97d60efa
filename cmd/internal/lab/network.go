package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// uplink is a host's link to the router.
const uplink = "eth0"

// haveIPv6 reports whether this machine's kernel has IPv6; without it the lab is IPv4 only.
func haveIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return err == nil
}

// settings are values of a namespace, to be set before it has links: these begin with the defaults.
type settings [][2]string

// routerSettings make the router one, whatever this machine's own settings are.
func routerSettings() settings {
	s := settings{{"ipv4/ip_forward", "1"}, {"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"}}
	if haveIPv6() {
		s = append(s, [2]string{"ipv6/conf/all/forwarding", "1"}, noDuplicateDetection())
	}
	return s
}

// hostSettings are a freshly installed machine's: a new namespace copies the IPv4 settings of this machine, which may
// be a router. Reverse path filtering is loose, as systemd sets it.
func hostSettings() settings {
	s := settings{
		{"ipv4/ip_forward", "0"},
		{"ipv4/conf/all/rp_filter", "0"},
		{"ipv4/conf/default/rp_filter", "2"},
		{"ipv4/ip_local_reserved_ports", wireGuardPorts()},
	}
	if haveIPv6() {
		s = append(s, noDuplicateDetection())
	}
	return s
}

// wireGuardPorts are those of both slots. A socket of the lab's own traffic that asks for any port must not get that of
// the slot which has no interface at the moment: the next rotation would wait for it.
func wireGuardPorts() string { return fmt.Sprintf("%d-%d", peers.DefaultPort, peers.DefaultPort+1) }

// noDuplicateDetection lets link-local addresses be used at once. Without one a router can ask for no neighbour, and
// the first packet to each host would wait for two seconds.
func noDuplicateDetection() [2]string { return [2]string{"ipv6/conf/default/accept_dad", "0"} }

// apply sets the values in the calling thread's network namespace.
func (s settings) apply() error {
	for _, setting := range s {
		if err := os.WriteFile("/proc/sys/net/"+setting[0], []byte(setting[1]), 0); err != nil {
			return fmt.Errorf("setting net/%s to %s: %v", setting[0], setting[1], err)
		}
	}
	return nil
}

// raise brings a link of the calling thread's namespace up.
func raise(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("bringing link %s up: %v", name, err)
	}
	return nil
}

// plug connects the host with the router, which the calling thread must be in.
func (h *Host) plug(network *os.File) error {
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: h.spec.Name},
		PeerName:      uplink,
		PeerNamespace: netlink.NsFd(int(network.Fd())),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		if errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("the router has a link %s already: one program has one lab at a time", h.spec.Name)
		}
		return fmt.Errorf("making link %s: %v", h.spec.Name, err)
	}
	return configure(h.spec.Name, h.eachFamily(gateway))
}

// unplug removes both ends of the link; it is no error if they are gone.
func (h *Host) unplug() error { return removeLink(h.spec.Name) }

// removeLink removes a link of the calling thread's namespace, if it is there.
func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	return err
}

// configureUplink gives the host its addresses and default routes; the calling thread must be on the host.
func (h *Host) configureUplink() error {
	if err := configure(uplink, h.eachFamily(func(own netip.Prefix) netip.Prefix { return own })); err != nil {
		return err
	}
	var routers []netip.Addr
	for _, router := range h.eachFamily(gateway) {
		routers = append(routers, router.Addr())
	}
	return defaultRoutes(uplink, routers)
}

// defaultRoutes makes next hops on a link of the calling thread's namespace those of all that has no other route.
func defaultRoutes(name string, hops []netip.Addr) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %v", name, err)
	}
	for _, hop := range hops {
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: hop.AsSlice()}); err != nil {
			return fmt.Errorf("adding the default route by way of %v: %v", hop, err)
		}
	}
	return nil
}

// eachFamily derives an address from the host's own on the internet in each family that this machine has.
func (h *Host) eachFamily(derive func(netip.Prefix) netip.Prefix) []netip.Prefix {
	if !h.OnInternet() {
		return nil
	}
	addresses := []netip.Prefix{derive(h.spec.IPv4)}
	if haveIPv6() {
		addresses = append(addresses, derive(h.spec.IPv6))
	}
	return addresses
}

// configure gives a link of the calling thread's namespace its addresses and brings it up. The addresses can be used
// at once: nobody else is on the link to ask whether they are taken.
func configure(name string, addresses []netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %v", name, err)
	}
	for _, address := range addresses {
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(address), Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("giving link %s the address %v: %v", name, address, err)
		}
	}
	return raise(name)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
