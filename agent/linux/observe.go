package linux

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/peers"
)

// Observe reads what the host has. It sets nothing.
func (k *Kernel) Observe(ctx context.Context) (peers.State, error) {
	var s peers.State
	seen, began := k.routing.events.Load(), time.Now()
	before := k.unread
	k.unread = map[string]error{}
	own := map[int]string{} // links of ours by index
	var set []settings      // of ours
	for _, name := range linkNames() {
		if err := ctx.Err(); err != nil {
			return peers.State{}, err
		}
		link, err := k.lookup(name)
		if err != nil {
			return peers.State{}, err
		}
		if link == nil {
			continue
		}
		l := k.observeLink(link)
		has := settingsOf(l.Index)
		l.RPFilter = has.rpFilter
		if err := k.unread[name]; err != nil && before[name] == nil && !errors.Is(err, peers.ErrForeign) {
			k.log.Warn("interface cannot be read", "interface", name, "error", err)
		}
		s.Links = append(s.Links, l)
		if mayBeOurs(link) {
			own[l.Index] = name
			set = append(set, has)
		}
	}
	k.ways.forget(time.Now())
	if err := k.addresses(&s, own); err != nil {
		return peers.State{}, err
	}
	six := hasIPv6()
	if !k.routing.fill(&s, own, began) {
		if err := k.allRoutes(&s, own, six); err != nil {
			return peers.State{}, err
		}
		k.routing.keep(&s, own, seen, began)
	}
	if err := k.forwarding(&s); err != nil {
		return peers.State{}, err
	}
	s.Guard = k.guard.table()
	s.Doubling = k.guard.doubling()
	s.Knocks = k.guard.knocks(s.Guard)
	s.IPv6 = six && k.mayIPv6(set)
	return s, nil
}

// allRoutes reads the routes of both families.
func (k *Kernel) allRoutes(s *peers.State, own map[int]string, six bool) error {
	err := k.routes(s, netlink.FAMILY_V4, own)
	if err == nil && six {
		err = k.routes(s, netlink.FAMILY_V6, own)
	}
	s.Routes, s.Foreign = slices.Clip(s.Routes), slices.Clip(s.Foreign)
	return err
}

// observeLink reads one link. A device that cannot be read is one we cannot use, whatever it is; what
// is tried on it fails with the reason.
func (k *Kernel) observeLink(link netlink.Link) peers.Link {
	at := link.Attrs()
	l := peers.Link{
		Name:    at.Name,
		Index:   at.Index,
		Up:      at.RawFlags&1 != 0, // IFF_UP
		MTU:     at.MTU,
		Backend: backendOfKind(link),
	}
	device, err := k.deviceOf(at.Name, l.Backend)
	if err != nil {
		k.unread[at.Name] = err
		l.Backend = ""
		return l
	}
	fill(&l, device, k.ways.to)
	return l
}

// addresses gives the links of a state their addresses, and the state those of other links.
func (k *Kernel) addresses(s *peers.State, own map[int]string) error {
	all, err := dump(func() ([]netlink.Addr, error) { return k.rt.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("read addresses: %v", err)
	}
	names := maps.Clone(own)
	var six map[metred]bool // asked for where there is something to ask for
	for i := range all {
		a := &all[i]
		prefix := prefixOf(a.IPNet)
		if !prefix.IsValid() || prefix.Addr().IsLinkLocalUnicast() || a.LinkIndex == loopback {
			continue
		}
		ours := false
		for j := range s.Links {
			if s.Links[j].Index == a.LinkIndex {
				s.Links[j].Addresses = append(s.Links[j].Addresses, prefix)
				ours = true
			}
		}
		if ours {
			continue
		}
		if mayBeVirtual6(a, prefix) && six == nil {
			if six, err = virtual6(); err != nil {
				return err
			}
		}
		s.Local = append(s.Local, peers.Local{
			Prefix: prefix, Link: k.nameOf(a.LinkIndex, names),
			Virtual: a.Label == peers.VirtualLabel || six[metred{a.LinkIndex, prefix.Addr()}],
		})
	}
	return nil
}
