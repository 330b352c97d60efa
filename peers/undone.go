package peers

import (
	"net/netip"
	"slices"
	"strings"
)

// An Undoing is one thing of ours that somebody else has undone on a host, and that a step puts right.
type Undoing struct {
	Kind string // of UndoneKinds, or the first word of a step that has no name there
	What string // for people
}

// Kinds of what can be undone.
const (
	UndoneLink     = "link"      // an interface was deleted
	UndoneDown     = "link-down" // an interface was taken down
	UndoneMTU      = "mtu"
	UndoneKey      = "key"  // the private key of an interface
	UndonePort     = "port" // the UDP port of an interface
	UndoneRPFilter = "rp-filter"
	UndoneAddress  = "address"
	UndonePeer     = "peer" // a peer, or what was set of it
	UndoneRoute    = "route"
	UndoneGuard    = "guard" // the nftables table
)

// UndoneKinds lists the kinds.
func UndoneKinds() []string {
	return []string{
		UndoneLink, UndoneDown, UndoneMTU, UndoneKey, UndonePort, UndoneRPFilter, UndoneAddress, UndonePeer, UndoneRoute,
		UndoneGuard,
	}
}

// Undone tells which of the steps that a host needs now are there because somebody has changed, since the state
// before, what is ours. Those are not that a new plan asks for, that a peer's answer leads to, or that the host's
// own networks ask for: they would be needed without anybody's doing as well. What goes because something else went,
// like the routes of a deleted interface, is not told by itself.
func Undone(before, now State, p Plan, steps []Step) []Undoing {
	needed := map[string]bool{}
	for _, s := range Diff(untouched(before, now), p) {
		needed[s.String()] = true
	}
	steps = slices.DeleteFunc(slices.Clone(steps), func(s Step) bool { return needed[s.String()] })
	u := undoing{now: now, gone: map[string]bool{}, rekeyed: map[string]bool{}, addresses: map[netip.Addr]bool{}}
	u.causes(steps)
	var out []Undoing
	for _, s := range steps {
		if !u.follows(s) {
			out = append(out, Undoing{Kind: u.kind(s), What: strings.ReplaceAll(s.String(), " (hidden)", "")})
		}
	}
	return out
}

// untouched is the state before with what the kernel and the world have done since, but without what was done to
// what is ours.
func untouched(before, now State) State {
	out := before
	out.Foreign, out.IPv6 = now.Foreign, now.IPv6
	out.Local = slices.DeleteFunc(slices.Clone(before.Local), func(l Local) bool { return !l.Virtual })
	for _, l := range now.Local {
		if !l.Virtual {
			out.Local = append(out.Local, l)
		}
	}
	out.Links = slices.Clone(before.Links)
	for i := range out.Links {
		link := &out.Links[i]
		is, ok := now.LinkNamed(link.Name)
		if !ok {
			continue
		}
		at := indexLinks([]Link{*is})[link.Name]
		link.Peers = slices.Clone(link.Peers)
		for j := range link.Peers {
			if peer := at.find(link.Peers[j].Key); peer != nil {
				is := *peer
				is.PSK, is.Keepalive, is.Allowed = link.Peers[j].PSK, link.Peers[j].Keepalive, link.Peers[j].Allowed
				link.Peers[j] = is
			}
		}
	}
	return out
}

// An undoing knows what brings other things about.
type undoing struct {
	now       State
	gone      map[string]bool // links that were deleted or taken down, or lost IPv6 with their MTU
	rekeyed   map[string]bool // links whose key was changed, and whose peers begin anew with it
	addresses map[netip.Addr]bool
}

func (u *undoing) causes(steps []Step) {
	for _, s := range steps {
		switch s := s.(type) {
		case AddLink:
			u.gone[s.Name] = true
		case SetLink:
			u.gone[s.Name] = true
		case SetDevice:
			u.rekeyed[s.Link] = u.kind(s) == UndoneKey
		case AddAddress:
			u.addresses[s.Prefix.Addr()] = true
		}
	}
}

// follows reports whether a step is needed because of another one, or of a tunnel process that does not answer.
func (u *undoing) follows(s Step) bool {
	link, there := u.now.LinkNamed(linkOf(s))
	if there && link.Backend == "" {
		return true
	}
	switch s := s.(type) {
	case AddLink:
		return false
	case SetRoute:
		return u.gone[s.Route.Link] || u.addresses[s.Route.Source]
	case AddAddress:
		return u.gone[s.Link] && (!there || s.Prefix.Addr().Is6())
	case SetPeer, DelPeer:
		return u.rekeyed[linkOf(s)] || u.gone[linkOf(s)] && !there
	}
	return u.gone[linkOf(s)] && !there
}

func (u *undoing) kind(s Step) string {
	switch s := s.(type) {
	case AddLink, DelLink:
		return UndoneLink
	case SetLink:
		if s.Up {
			return UndoneDown
		}
		return UndoneMTU
	case SetDevice:
		if have, ok := u.now.LinkNamed(s.Link); ok && have.Public == s.Private.Public() {
			return UndonePort
		}
		return UndoneKey
	case SetRPFilter:
		return UndoneRPFilter
	case AddAddress, DelAddress:
		return UndoneAddress
	case SetPeer, DelPeer:
		return UndonePeer
	case SetRoute, DelRoute:
		return UndoneRoute
	case SetGuard, DelGuard:
		return UndoneGuard
	}
	word, _, _ := strings.Cut(s.String(), " ")
	return word
}

// linkOf is the link that a step is about, empty for none.
func linkOf(s Step) string {
	switch s := s.(type) {
	case AddLink:
		return s.Name
	case SetDevice:
		return s.Link
	case SetLink:
		return s.Name
	case SetRPFilter:
		return s.Link
	case AddAddress:
		return s.Link
	case SetPeer:
		return s.Link
	case DelPeer:
		return s.Link
	case SetRoute:
		return s.Route.Link
	case DelRoute:
		return s.Route.Link
	case DelAddress:
		return s.Link
	case DelLink:
		return s.Name
	}
	return ""
}

// Lost are the peers that a host had and has no more, on interfaces that it still has.
func Lost(before, now State) map[AttemptKey]bool {
	var out map[AttemptKey]bool
	for i := range before.Links {
		was := &before.Links[i]
		is, ok := now.LinkNamed(was.Name)
		if !ok || is.Index != was.Index || len(is.Peers) >= len(was.Peers) {
			continue
		}
		have := indexLinks([]Link{*is})[was.Name]
		for j := range was.Peers {
			if k := was.Peers[j].Key; have.find(k) == nil {
				if out == nil {
					out = map[AttemptKey]bool{}
				}
				out[AttemptKey{Link: was.Name, Key: k}] = true
			}
		}
	}
	return out
}
