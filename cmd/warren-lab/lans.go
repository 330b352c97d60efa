package main

import (
	"net/netip"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// topology is the lab that somebody has asked for.
func topology(bin string, o upOptions) lab.Topology {
	t := lab.Topology{Bin: bin, Hosts: []lab.HostSpec{{Name: lab.DefaultController}}}
	for i, host := range o.hosts {
		spec := lab.HostSpec{Name: host}
		if o.lans {
			four, six := lanNetworks(i)
			link := func(last byte) lab.LANLink {
				return lab.LANLink{Segment: host, Addresses: []netip.Prefix{at(four, last), at(six, last)}}
			}
			const gateway, machine = 1, 10
			spec.LAN = link(gateway)
			behind := link(machine)
			behind.Only, behind.Via = true, []netip.Addr{at(four, gateway).Addr(), at(six, gateway).Addr()}
			t.LANs = append(t.LANs, host)
			t.Hosts = append(t.Hosts, lab.HostSpec{Name: machineOf(host), LAN: behind})
		}
		t.Hosts = append(t.Hosts, spec)
	}
	return t
}

// lanNetworks are those behind the host of that number: 10.10.0.0/24, 10.20.0.0/24 and so on, none of them within the
// range of the mesh itself, 10.90.0.0/16, and fd00:0:0:a::/64 and so on.
func lanNetworks(i int) (four, six netip.Prefix) {
	const mesh = 90
	second := 10 * (i + 1)
	if second >= mesh {
		second = 100 + i
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(second)}), 24),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 7: byte(second)}), 64)
}

// at is the address in a network that ends so.
func at(network netip.Prefix, last byte) netip.Prefix {
	b := network.Addr().AsSlice()
	b[len(b)-1] = last
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, network.Bits())
}

// machineOf is the machine on the LAN behind a host. Names have at most 15 characters.
func machineOf(host string) string {
	const suffix = "-pc"
	return host[:min(len(host), 15-len(suffix))] + suffix
}

// guideToLAN is how the LAN behind the first host is joined with the others.
func (o upOptions) guideToLAN() [2]string {
	if !o.lans {
		return [2]string{}
	}
	host := o.hosts[0]
	network, _ := lanNetworks(0)
	return [2]string{
		"exec " + lab.DefaultController + " -- warren site add " + host + " --prefix " + network.String() + " --gateway " + host,
		"the others reach " + machineOf(host) + " on its LAN",
	}
}
