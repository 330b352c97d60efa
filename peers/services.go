package peers

import (
	"cmp"
	"slices"
)

// services are a set of services.
type services struct {
	all, icmp bool
	tcp, udp  []Ports // ascending, apart from each other
}

// servicesOf adds up what flows allow.
func servicesOf(p *Policy, set []int) (out services) {
	if p == nil {
		return services{all: true}
	}
	var tcp, udp []Ports
	for _, i := range set {
		for _, s := range p.Flows[i].Allow {
			switch s.Protocol {
			case AnyProtocol:
				out.all = true
			case ICMP:
				out.icmp = true
			case TCP:
				tcp = append(tcp, s.Ports)
			case UDP:
				udp = append(udp, s.Ports)
			}
		}
	}
	if out.all {
		return services{all: true}
	}
	out.tcp, out.udp = joinedPorts(tcp), joinedPorts(udp)
	return out
}

// joinedPorts sorts ranges and puts those together that touch.
func joinedPorts(list []Ports) []Ports {
	slices.SortFunc(list, func(a, b Ports) int { return cmp.Compare(a.First, b.First) })
	var out []Ports
	for _, p := range list {
		if n := len(out); n > 0 && int(p.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, p.Last)
			continue
		}
		out = append(out, p)
	}
	return out
}

// less is what s has and other has not. All services less some are told as all.
func (s services) less(other services) services {
	switch {
	case other.all:
		return services{}
	case s.all:
		return s
	}
	return services{
		icmp: s.icmp && !other.icmp, tcp: portsLess(s.tcp, other.tcp), udp: portsLess(s.udp, other.udp),
	}
}

// both is what s and other have in common.
func (s services) both(other services) services {
	switch {
	case s.all:
		return other
	case other.all:
		return s
	}
	return services{
		icmp: s.icmp && other.icmp,
		tcp:  portsLess(s.tcp, portsLess(s.tcp, other.tcp)), udp: portsLess(s.udp, portsLess(s.udp, other.udp)),
	}
}

func portsLess(list, less []Ports) (out []Ports) {
	var taken []PortRule
	for _, p := range less {
		taken = append(taken, PortRule{Ports: p})
	}
	for _, p := range list {
		for _, left := range without(PortRule{Ports: p}, taken) {
			out = append(out, left.Ports)
		}
	}
	return out
}

// list is the set as services, in a fixed order; nil for none.
func (s services) list() (out []Service) {
	if s.all {
		return []Service{{Protocol: AnyProtocol}}
	}
	for _, p := range s.tcp {
		out = append(out, Service{TCP, p})
	}
	for _, p := range s.udp {
		out = append(out, Service{UDP, p})
	}
	if s.icmp {
		out = append(out, Service{Protocol: ICMP})
	}
	return out
}
