package peers

import (
	"fmt"
	"strconv"
	"strings"
)

// A Protocol is what a Service is about.
type Protocol string

// The protocols of services. ICMP is that of both address families.
const (
	AnyProtocol Protocol = "*"
	TCP         Protocol = "tcp"
	UDP         Protocol = "udp"
	ICMP        Protocol = "icmp"
)

// Ports are a range of ports, both ends included.
type Ports struct{ First, Last uint16 }

// anyPort are all ports.
func anyPort() Ports { return Ports{0, 65535} }

// String is one port, or a range with a dash.
func (p Ports) String() string {
	if p.First == p.Last {
		return strconv.Itoa(int(p.First))
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// A Service is what a flow allows. As text it is tcp/PORT, tcp/FIRST-LAST, the same with udp, tcp or udp
// for all ports, icmp, or * for everything.
type Service struct {
	Protocol Protocol
	Ports    Ports // of tcp and udp
}

// ParseService reads what String writes.
func ParseService(text string) (Service, error) {
	protocol, ports, hasPorts := strings.Cut(text, "/")
	s := Service{Protocol: Protocol(protocol)}
	switch s.Protocol {
	case AnyProtocol, ICMP:
		if hasPorts {
			return Service{}, fmt.Errorf("%.40q: %s has no ports", text, protocol)
		}
		return s, nil
	case TCP, UDP:
	default:
		return Service{}, fmt.Errorf("%.40q is no service: write tcp/5432, tcp/8000-8100, udp/53, icmp or *", text)
	}
	if !hasPorts {
		s.Ports = anyPort()
		return s, nil
	}
	first, last, isRange := strings.Cut(ports, "-")
	if !isRange {
		last = first
	}
	var err error
	if s.Ports.First, err = parsePort(first); err != nil {
		return Service{}, fmt.Errorf("%.40q: %v", text, err)
	}
	if s.Ports.Last, err = parsePort(last); err != nil {
		return Service{}, fmt.Errorf("%.40q: %v", text, err)
	}
	if s.Ports.Last < s.Ports.First {
		return Service{}, fmt.Errorf("%.40q: the range ends before it begins", text)
	}
	return s, nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || text[0] == '+' {
		return 0, fmt.Errorf("%.20q is no port: want 1 to 65535", text)
	}
	return uint16(n), nil
}

// String is the service as it is written in a policy.
func (s Service) String() string {
	if s.Protocol != TCP && s.Protocol != UDP || s.Ports == anyPort() {
		return string(s.Protocol)
	}
	return string(s.Protocol) + "/" + s.Ports.String()
}

// MarshalText is String.
func (s Service) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseService.
func (s *Service) UnmarshalText(text []byte) (err error) {
	*s, err = ParseService(string(text))
	return err
}

// covers reports whether s allows all that other does.
func (s Service) covers(other Service) bool {
	return s.Protocol == AnyProtocol ||
		s.Protocol == other.Protocol && s.Ports.First <= other.Ports.First && other.Ports.Last <= s.Ports.Last
}

// touches reports whether s allows something that other does.
func (s Service) touches(other Service) bool {
	return s.Protocol == AnyProtocol || other.Protocol == AnyProtocol ||
		s.Protocol == other.Protocol && s.Ports.First <= other.Ports.Last && other.Ports.First <= s.Ports.Last
}
