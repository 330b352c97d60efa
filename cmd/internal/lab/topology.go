package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
)

// Topology says which hosts a lab has.
type Topology struct {
	Hosts []HostSpec
	LANs  []string // names of the LANs that hosts are on
	// Bin is the directory of the programs under test; it leads PATH on every host. It may be empty.
	Bin string
}

// HostSpec is one host. What is left out of its addresses (address with prefix length) comes from the documentation
// ranges.
type HostSpec struct {
	Name string // at most 15 characters: it also names the router's link to the host, and the LAN's port
	Site string // where StartMesh enrols it; its name if empty
	IPv4 netip.Prefix
	IPv6 netip.Prefix
	LAN  LANLink // a second link, or the only one
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,14}$`)

// RouterName is how people call the router, in whose namespace the program itself is.
const RouterName = "internet"

// Check says all that is wrong with a topology, which New would refuse.
func (t Topology) Check() error {
	_, err := t.resolved()
	return err
}

// resolved is the topology with every address filled in, or all that is wrong with it.
func (t Topology) resolved() ([]HostSpec, error) {
	var problems []error
	if len(t.Hosts) == 0 {
		problems = append(problems, errors.New("a lab needs at least one host"))
	}
	taken := map[string]bool{RouterName: true, "lo": true}
	problems = append(problems, t.checkLANs()...)
	specs := make([]HostSpec, len(t.Hosts))
	connected := 0
	for i, spec := range t.Hosts {
		if !validName.MatchString(spec.Name) {
			problems = append(problems, fmt.Errorf("host name %q: at most 15 of a-z, 0-9 and -, a letter first", spec.Name))
		}
		if taken[spec.Name] {
			problems = append(problems, fmt.Errorf("host name %q is taken", spec.Name))
		}
		taken[spec.Name] = true
		problems = append(problems, spec.LAN.check(spec, t.LANs))
		if spec.LAN.Only {
			specs[i] = spec
			continue
		}
		spec = spec.documented(connected)
		connected++
		specs[i] = spec
		for j, other := range specs[:i] {
			if spec.IPv4.Overlaps(other.IPv4) || spec.IPv6.Overlaps(other.IPv6) {
				problems = append(problems, fmt.Errorf("hosts %q and %q are on one subnet", spec.Name, t.Hosts[j].Name))
			}
		}
		problems = append(problems, spec.checkAddresses())
	}
	return specs, errors.Join(problems...)
}

// documented fills in what is left out of the addresses of the host of that number on the internet.
func (s HostSpec) documented(i int) HostSpec {
	if !s.IPv4.IsValid() {
		s.IPv4 = documentationIPv4(i)
	}
	if !s.IPv6.IsValid() {
		s.IPv6 = documentationIPv6(i)
	}
	return s
}

func (s HostSpec) checkAddresses() error {
	switch {
	case !s.IPv4.IsValid():
		return fmt.Errorf("host %q: no documentation address is left for it: give it one", s.Name)
	case !s.IPv4.Addr().Is4() || !s.IPv6.Addr().Is6():
		return fmt.Errorf("host %q: %v must be IPv4 and %v IPv6", s.Name, s.IPv4, s.IPv6)
	case s.IPv4.Addr() == gateway(s.IPv4).Addr() || s.IPv6.Addr() == gateway(s.IPv6).Addr():
		return fmt.Errorf("host %q: the first address of %v and %v is the router's", s.Name, s.IPv4, s.IPv6)
	}
	return nil
}

// documentationIPv4 spreads hosts over the three ranges of RFC 5737, so that neighbours share no prefix that looks
// like one network: 198.51.100.2/29, 192.0.2.2/29, 203.0.113.2/29, 198.51.100.10/29 and so on.
func documentationIPv4(i int) netip.Prefix {
	ranges := [3][3]byte{{198, 51, 100}, {192, 0, 2}, {203, 0, 113}}
	const size = 8
	within := i / len(ranges) * size
	if within > 255 {
		return netip.Prefix{}
	}
	r := ranges[i%len(ranges)]
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{r[0], r[1], r[2], byte(within + 2)}), 29)
}

// documentationIPv6 numbers networks in 2001:db8::/32 (RFC 3849): 2001:db8:1::2/64, 2001:db8:2::2/64 and so on.
func documentationIPv6(i int) netip.Prefix {
	n := i + 1
	address := [16]byte{0x20, 0x01, 0x0d, 0xb8, byte(n >> 8), byte(n), 15: 2}
	return netip.PrefixFrom(netip.AddrFrom16(address), 64)
}

// gateway is the router's address on a host's subnet: the first one.
func gateway(subnet netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(subnet.Masked().Addr().Next(), subnet.Bits())
}
