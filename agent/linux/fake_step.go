package linux

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// minimumIPv6 is the MTU below which the kernel takes IPv6 off a link (RFC 8200 §5).
const minimumIPv6 = 1280

// do takes one step.
func (f *Fake) do(step peers.Step) error {
	f.steps++
	if f.refuse != nil {
		if err := f.refuse(step); err != nil {
			return err
		}
	}
	switch s := step.(type) {
	case peers.AddLink:
		return f.addLink(s)
	case peers.DelLink:
		if l := f.links[s.Name]; l != nil && l.foreign {
			return &linkError{peers.ErrForeign}
		}
		f.delLink(s.Name)
		return nil
	case peers.SetRoute:
		return f.setRoute(s.Route)
	case peers.DelRoute:
		f.routes.remove(s.Route)
		return nil
	}
	if f.doBeside(step) {
		return nil
	}
	return f.doLink(step)
}

// doBeside takes a step about what is not on our links; false for any other.
func (f *Fake) doBeside(step peers.Step) bool {
	switch s := step.(type) {
	case peers.SetForwarding:
		f.setForwarding(s)
	case peers.SetGuard:
		f.guard = peers.Table{There: true, Digest: s.Guard.Digest()}
	case peers.DelGuard:
		f.guard = peers.Table{}
	case peers.SetDoubling:
		f.doubling = s.Doubling
	case peers.RestoreRedirects:
		f.redirects, f.redirected = true, false
	case peers.SetVirtual:
		f.locals = append(f.locals, peers.Local{Prefix: netip.PrefixFrom(s.Address, s.Address.BitLen()), Link: s.Link, Virtual: true})
	case peers.DelVirtual:
		f.locals = slices.DeleteFunc(f.locals, func(l peers.Local) bool { return l.Virtual && l.Prefix.Addr() == s.Address })
	default:
		return false
	}
	return true
}

// doLink takes a step on a link that must be there.
func (f *Fake) doLink(step peers.Step) error {
	l := f.links[linkOf(step)]
	switch {
	case l == nil:
		return &linkError{fmt.Errorf("there is no interface %s", linkOf(step))}
	case l.foreign:
		return &linkError{peers.ErrForeign}
	}
	switch s := step.(type) {
	case peers.SetDevice:
		if l.up && f.portTaken(s.Port, l) {
			return &PortError{Port: s.Port, Holder: "another interface"}
		}
		l.port = s.Port
		l.setKey(s.Private.Public())
	case peers.SetLink:
		return f.setLink(l, s)
	case peers.SetRPFilter:
		l.rpFilter = peers.LooseRPFilter
	case peers.AddAddress:
		return f.addAddress(l, s.Prefix)
	case peers.DelAddress:
		f.delAddress(l, s.Prefix)
	case peers.SetPeer:
		l.set(&s)
	case peers.DelPeer:
		l.remove(s.Key)
	default:
		return fmt.Errorf("unknown step %T", step)
	}
	return nil
}

func (f *Fake) addLink(s peers.AddLink) error {
	if f.links[s.Name] != nil {
		return &linkError{fmt.Errorf("there is an interface of this name already: %w", peers.ErrForeign)}
	}
	f.index++
	f.links[s.Name] = &fakeLink{
		name: s.Name, index: f.index, mtu: s.MTU, owner: map[netip.Prefix]*peers.LinkPeer{},
	}
	return nil
}

// delLink removes a link with its addresses and with the routes through it.
func (f *Fake) delLink(name string) {
	l := f.links[name]
	if l == nil {
		return
	}
	f.routes.drop(func(r peers.Route) bool { return r.Link == name })
	for _, a := range slices.Clone(l.addresses) {
		f.delAddress(l, a)
	}
	delete(f.links, name)
	delete(f.forwards, name)
}

func (f *Fake) setLink(l *fakeLink, s peers.SetLink) error {
	if s.MTU != 0 {
		l.mtu = s.MTU
		if s.MTU < minimumIPv6 {
			f.dropIPv6(l.name)
		}
	}
	if s.Up {
		if f.portTaken(l.port, l) {
			return &linkError{&PortError{Port: l.port, Holder: "another interface"}}
		}
		l.up = true
		f.redirected = f.redirected || f.redirects
		f.redirects = false
	}
	return nil
}

// portTaken says whether another interface that is up has the port.
func (f *Fake) portTaken(port uint16, by *fakeLink) bool {
	for _, l := range f.links {
		if l != by && l.up && port != 0 && l.port == port {
			return true
		}
	}
	return false
}

func (f *Fake) addAddress(l *fakeLink, p netip.Prefix) error {
	if p.Addr().Is6() && (!f.ipv6 || l.mtu < minimumIPv6) {
		return errors.New("IPv6 is off on this interface")
	}
	if !slices.Contains(l.addresses, p) {
		l.addresses = append(l.addresses, p)
	}
	return nil
}

// delAddress takes an address away. Once no link has it, the kernel removes IPv4 routes that prefer it as
// their source; IPv6 routes stay and lose the preference.
func (f *Fake) delAddress(l *fakeLink, p netip.Prefix) {
	l.addresses = slices.DeleteFunc(l.addresses, func(a netip.Prefix) bool { return a == p })
	if f.local(p.Addr()) {
		return
	}
	for _, r := range slices.Clone(f.routes.list) {
		switch {
		case r.Source != p.Addr():
		case p.Addr().Is4():
			f.routes.remove(r)
		default:
			r.Source = netip.Addr{}
			f.routes.set(r)
		}
	}
}

func (f *Fake) local(a netip.Addr) bool {
	for _, l := range f.links {
		if slices.ContainsFunc(l.addresses, func(p netip.Prefix) bool { return p.Addr() == a }) {
			return true
		}
	}
	return false
}

func (f *Fake) setRoute(r peers.Route) error {
	if r.Link != "" {
		l := f.links[r.Link]
		switch {
		case l == nil:
			return &linkError{fmt.Errorf("there is no interface %s", r.Link)}
		case l.foreign:
			return &linkError{peers.ErrForeign}
		case !l.up:
			return unix.ENETDOWN
		case r.Source.IsValid() && !f.local(r.Source):
			return unix.EINVAL
		}
	}
	if r.Prefix.Addr().Is6() && !f.ipv6 {
		return unix.EAFNOSUPPORT
	}
	f.routes.set(r)
	return nil
}

// dropIPv6 takes IPv6 off a link.
func (f *Fake) dropIPv6(name string) {
	f.routes.drop(func(r peers.Route) bool { return r.Link == name && r.Prefix.Addr().Is6() })
	l := f.links[name]
	for _, a := range slices.Clone(l.addresses) {
		if a.Addr().Is6() {
			f.delAddress(l, a)
		}
	}
}
