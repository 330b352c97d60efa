package linux

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// setVirtual adds the virtual address of a site to a link of the host's own. It has a network of its own, so that it
// is nobody's source and brings no route.
func (k *Kernel) setVirtual(s peers.SetVirtual) error {
	link, err := k.lookup(s.Link)
	if err != nil {
		return err
	}
	if link == nil {
		return fmt.Errorf("there is no interface %s", s.Link)
	}
	if s.Address.Is6() {
		return k.setVirtual6(link, s.Address)
	}
	address := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(s.Address, 32)), Label: peers.VirtualLabel}
	if err := k.wrote(k.rt.AddrReplace(link, address)); err != nil {
		return explain(err)
	}
	return k.announce(link, s.Address)
}

func (k *Kernel) delVirtual(s peers.DelVirtual) error {
	link, err := k.lookup(s.Link)
	if err != nil || link == nil {
		return err
	}
	if s.Address.Is6() {
		return k.delVirtual6(link, s.Address)
	}
	address := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(s.Address, 32)), Label: peers.VirtualLabel}
	return gone(k.wrote(k.rt.AddrDel(link, address)))
}

// Announcing an address.
const (
	announceTo = 3  // neighbours that nobody has asked for
	lookAmong  = 64 // addresses from the end of the network
)

// announce tells all on a link that an address is here now. A gratuitous ARP would need a packet socket, and with it
// CAP_NET_RAW, which the agent has not got. But a host that sends to a neighbour which it does not know yet asks all
// for it, three times a second apart, and says in the question which address it has: that of the packet, and who
// hears it and knows the address learns where it is now (RFC 826; arp_process of Linux). So a packet is sent from the
// address to neighbours that are not known. Whether they exist does not matter.
func (k *Kernel) announce(link netlink.Link, a netip.Addr) error {
	known, err := k.neighbours(link)
	if err != nil {
		return err
	}
	addresses, err := dump(func() ([]netlink.Addr, error) { return k.rt.AddrList(link, netlink.FAMILY_V4) })
	if err != nil {
		return fmt.Errorf("read addresses: %v", err)
	}
	for i := range addresses {
		network := prefixOf(addresses[i].IPNet)
		known[network.Addr()] = true
		if network.Masked().Contains(a) && network.Bits() < 31 {
			defer func() { tellAll(a, network, known) }()
		}
	}
	return nil
}

// neighbours are those of a link of which the kernel knows where they are. The lasting socket would not do: with its
// strict checks the kernel refuses this question.
func (k *Kernel) neighbours(link netlink.Link) (map[netip.Addr]bool, error) {
	all, err := dump(func() ([]netlink.Neigh, error) { return netlink.NeighList(link.Attrs().Index, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("read neighbours: %v", err)
	}
	known := map[netip.Addr]bool{}
	for i := range all {
		if n, ok := netip.AddrFromSlice(all[i].IP); ok && all[i].State&(netlink.NUD_FAILED|netlink.NUD_NONE) == 0 {
			known[n.Unmap()] = true
		}
	}
	return known, nil
}

// tellAll sends from an address to the last addresses of a network that are not known.
func tellAll(from netip.Addr, network netip.Prefix, known map[netip.Addr]bool) {
	socket, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
	if err != nil {
		return // it is gone again
	}
	defer socket.Close()
	to, told := lastOf(network).Prev(), 0
	for range lookAmong {
		if !network.Contains(to) || to == network.Masked().Addr() || told == announceTo {
			return
		}
		if to != from && !known[to] {
			if _, err := socket.WriteToUDPAddrPort([]byte{0}, netip.AddrPortFrom(to, peers.ProbePort)); err == nil {
				told++
			} else if errors.Is(err, unix.EPERM) {
				return // a firewall
			}
		}
		to = to.Prev()
	}
}

// lastOf is the last address of an IPv4 network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := range b {
		if bits := p.Bits() - 8*i; bits < 8 {
			b[i] |= byte(0xff) >> max(0, bits)
		}
	}
	return netip.AddrFrom4(b)
}
