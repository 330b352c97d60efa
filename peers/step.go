package peers

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/warren-mesh/warren/peers/key"
)

// ErrForeign is returned for a step about a link that has a name of ours and is not ours to touch.
var ErrForeign = errors.New("the interface is somebody else's: it is no WireGuard interface, or no tunnel process " +
	"answers for it; rename or delete it, see: ip -d link show")

// A Step is one thing to do to a kernel. It prints itself in the manner of ip(8) and wg(8), without
// secrets. The set is closed.
type Step interface {
	fmt.Stringer
	step()
}

// AddLink creates a WireGuard interface, down and without a key.
type AddLink struct {
	Name string
	MTU  int
}

// SetDevice gives an interface its private key and port.
type SetDevice struct {
	Link    string
	Private key.Private
	Port    uint16
}

// SetLink changes the MTU (0: leave it) or brings the link up.
type SetLink struct {
	Name string
	MTU  int
	Up   bool
}

// SetRPFilter makes the reverse path filter of a link loose: LooseRPFilter.
type SetRPFilter struct{ Link string }

// AddAddress gives a link an address.
type AddAddress struct {
	Link   string
	Prefix netip.Prefix
}

// SetPeer adds a peer or changes what is set here of an existing one, and of no other.
type SetPeer struct {
	Link           string
	Host           string // for people
	Key            key.Public
	New            bool           // there is no such peer yet; otherwise it must exist
	PSK            *key.Preshared // nil: leave it
	Endpoint       netip.AddrPort // zero: leave it to the kernel
	Keepalive      *int           // seconds; nil: leave it
	Allowed        []netip.Prefix // added to what it has; an address that another peer has moves here
	ReplaceAllowed bool           // Allowed is all that it shall have
}

// RestoreRedirects turns net.ipv4.conf.all.send_redirects on again, see State.Redirects, and takes back the note of it.
type RestoreRedirects struct{}

// SetRoute adds a route or replaces the one to the same prefix.
type SetRoute struct{ Route Route }

// DelRoute removes a route.
type DelRoute struct{ Route Route }

// DelPeer removes a peer.
type DelPeer struct {
	Link string
	Key  key.Public
}

// DelAddress takes an address from a link.
type DelAddress struct {
	Link   string
	Prefix netip.Prefix
}

// DelLink removes an interface.
type DelLink struct{ Name string }

// SetGuard makes the nftables table, or replaces the one that is there, at once.
type SetGuard struct{ Guard Guard }

// DelGuard removes the nftables table.
type DelGuard struct{}

func (AddLink) step()          {}
func (SetDevice) step()        {}
func (SetLink) step()          {}
func (SetRPFilter) step()      {}
func (RestoreRedirects) step() {}
func (AddAddress) step()       {}
func (SetPeer) step()          {}
func (SetRoute) step()         {}
func (DelRoute) step()         {}
func (DelPeer) step()          {}
func (DelAddress) step()       {}
func (SetGuard) step()         {}
func (DelGuard) step()         {}
func (DelLink) step()          {}

// String prints the step.
func (s AddLink) String() string {
	return fmt.Sprintf("link add %s mtu %d type wireguard", s.Name, s.MTU)
}

// String prints the step without the private key.
func (s SetDevice) String() string {
	return fmt.Sprintf("wg set %s private-key %v listen-port %d", s.Link, s.Private, s.Port)
}

// String prints the step.
func (s SetLink) String() string {
	out := "link set " + s.Name
	if s.MTU != 0 {
		out += fmt.Sprintf(" mtu %d", s.MTU)
	}
	if s.Up {
		out += " up"
	}
	return out
}

// String prints the step.
func (RestoreRedirects) String() string { return "sysctl net.ipv4.conf.all.send_redirects=1" }

// String prints the step.
func (s SetRPFilter) String() string {
	return fmt.Sprintf("sysctl net.ipv4.conf.%s.rp_filter=%d", s.Link, LooseRPFilter)
}

// String prints the step.
func (s AddAddress) String() string { return fmt.Sprintf("address add %v dev %s", s.Prefix, s.Link) }

// String prints the step without the pre-shared key.
func (s SetPeer) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "wg set %s peer %v", s.Link, s.Key)
	if !s.New {
		b.WriteString(" update-only")
	}
	if s.PSK != nil {
		fmt.Fprintf(&b, " preshared-key %v", *s.PSK)
	}
	if s.Endpoint.IsValid() {
		fmt.Fprintf(&b, " endpoint %v", s.Endpoint)
	}
	if s.Keepalive != nil {
		fmt.Fprintf(&b, " persistent-keepalive %d", *s.Keepalive)
	}
	if s.ReplaceAllowed && len(s.Allowed) == 0 {
		b.WriteString(` allowed-ips ""`)
	} else if len(s.Allowed) > 0 {
		sign := "+"
		if s.ReplaceAllowed {
			sign = ""
		}
		for i, p := range s.Allowed {
			b.WriteString([]string{" allowed-ips ", ","}[min(i, 1)] + sign + p.String())
		}
	}
	fmt.Fprintf(&b, " # %s", s.Host)
	return b.String()
}

// String prints the step.
func (s SetRoute) String() string { return "route replace " + s.Route.String() }

// String prints the step.
func (s DelRoute) String() string { return "route del " + s.Route.String() }

// String prints the step.
func (s DelPeer) String() string { return fmt.Sprintf("wg set %s peer %v remove", s.Link, s.Key) }

// String prints the step.
func (s DelAddress) String() string { return fmt.Sprintf("address del %v dev %s", s.Prefix, s.Link) }

// String prints the step.
func (s DelLink) String() string { return "link del " + s.Name }

// String prints the step. What is in the table, Guard prints.
func (s SetGuard) String() string {
	return fmt.Sprintf("nft replace table inet %s # %s", GuardTable, s.Guard.Digest())
}

// String prints the step.
func (s DelGuard) String() string { return "nft delete table inet " + GuardTable }

// String prints the route in the manner of ip-route(8).
func (r Route) String() string {
	if r.Link == "" {
		return fmt.Sprintf("unreachable %v proto %d", r.Prefix, RouteProtocol)
	}
	out := fmt.Sprintf("%v dev %s proto %d", r.Prefix, r.Link, RouteProtocol)
	if r.Source.IsValid() {
		out += fmt.Sprintf(" src %v", r.Source)
	}
	if r.MTU != 0 {
		out += fmt.Sprintf(" mtu %d", r.MTU)
	}
	return out
}

// Building are the steps that take nothing away. They are all that a plan from disk may lead to before
// the controller has confirmed it: the kernel may have what was planned after that plan was written.
func Building(steps []Step) []Step {
	var out []Step
	for _, s := range steps {
		switch s := s.(type) {
		case DelRoute, DelPeer, DelAddress, DelLink, DelGuard:
			continue
		case SetPeer:
			if s.ReplaceAllowed {
				continue
			}
		case SetForwarding:
			if !s.On {
				continue
			}
		}
		out = append(out, s)
	}
	return out
}
