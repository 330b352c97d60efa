package agent

import (
	"net/netip"
	"slices"
	"time"

	"github.com/warren-mesh/warren/agent/control"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// clockTolerance is how far the clocks of host and controller may be apart without a word.
const clockTolerance = time.Minute

// emptyStatus is that of a host before anything is known of it. Lists are empty, not null.
func emptyStatus() wire.Status {
	return wire.Status{
		State: wire.StateUnenrolled, Interfaces: []wire.InterfaceStatus{}, Peers: []wire.PeerStatus{},
		Problems: []peers.Problem{},
	}
}

// publish tells how things stand now, the controller as well.
func (l *loop) publish() {
	now := time.Now()
	view := l.link.view()
	s := emptyStatus()
	s.Version, s.Backend = l.Version, l.Kernel.Backend()
	l.describeSelf(&s)
	s.Controller = controllerStatus(view, l.me.member != nil)
	if l.me.member != nil {
		s.Controller.Addresses = l.me.member.Controllers
	}
	trying := 0
	if l.plan != nil {
		trying = l.describePlan(&s, now)
	}
	s.Restored = l.healing.list()
	if l.plan != nil {
		s.Guard = l.guardStatus()
		s.Sites = l.scout.status(l.plan.want.OwnSite())
	}
	own := l.trouble.all()
	s.Problems = append(own, l.controlProblems(view)...)
	s.Notes = l.notes()
	s.State = l.hostState(&s, view)
	n := notice{status: s, pending: view.Pending, trying: trying}
	if view.Refused() {
		n.refused = view.Fault
	}
	if l.plan != nil && l.plan.applied && l.plan.fresh {
		n.plan = &l.plan.want
	}
	l.agent.board.put(n)
	l.report(own, &s)
	l.answerProbes()
}

// notes are no problems: a host without these is as good as one can be that has no such thing.
func (l *loop) notes() (out []peers.Problem) {
	if l.plan == nil {
		return nil
	}
	if !l.seen.state.IPv6 {
		out = append(out, peers.Problem{Code: "no-ipv6", Message: "this host has no IPv6; the mesh does without"})
	}
	if why := l.seen.state.Guard.Fault; why != "" {
		out = append(out, peers.Problem{
			Code: "no-nftables", Message: why + ": large packets between networks behind hosts may be lost, and " +
				"nothing keeps what is for the mesh from leaving outside of a tunnel",
		})
	}
	return out
}

func (l *loop) describeSelf(s *wire.Status) {
	if m := l.me.member; m != nil {
		s.Host, s.ID, s.Mesh, s.Site, s.Address, s.Address6 = m.Name, m.ID, m.MeshName, m.Site, m.Address, m.Address6
	}
}

// describePlan adds what the plan says and what the kernel has of it. It counts the peers that may still
// answer for the first time.
func (l *loop) describePlan(s *wire.Status, now time.Time) (trying int) {
	p := &l.plan.want
	s.Host, s.ID, s.Site, s.Mesh = p.Self.Name, p.Self.ID, p.Self.Site, p.Mesh.Name
	s.Address, s.Address6 = p.Self.Address, p.Self.Address6
	s.Revision = l.revision()
	state := &l.seen.state
	for _, in := range p.Interfaces {
		s.Generation = max(s.Generation, in.Generation)
		if !in.Since.IsZero() {
			s.KeyAge = max(0, now.Sub(in.Since).Seconds())
		}
		if have, ok := state.LinkNamed(in.Name); ok {
			s.Interfaces = append(s.Interfaces, wire.InterfaceStatus{
				Name: in.Name, Generation: in.Generation, Port: have.Port, PublicKey: have.Public, MTU: have.MTU,
				Since: since(in.Since),
			})
		}
	}
	at := l.places()
	s.Peers = slices.Grow(s.Peers, len(p.Peers))
	for _, i := range l.plan.byName {
		peer := &p.Peers[i]
		row, pulse := l.peerStatus(peer, at[peer.ID], now)
		s.Peers = append(s.Peers, row)
		if pulse.mayAnswer(peer, now) {
			trying++
		}
	}
	return trying
}

// overlayAddresses are the peer's own, by family; zero where it has none.
func overlayAddresses(p *peers.Peer) (four, six netip.Addr) {
	for _, prefix := range p.Prefixes {
		if a := prefix.Addr(); prefix.IsSingleIP() && a.Is4() && !four.IsValid() {
			four = a
		} else if prefix.IsSingleIP() && a.Is6() && !six.IsValid() {
			six = a
		}
	}
	return four, six
}

// isUp reports whether a peer answers where it is.
func (l *loop) isUp(at place) bool {
	return l.health.pulses[peers.AttemptKey{Link: at.in.Name, Key: at.peer.Key}].up
}

func (l *loop) peerStatus(p *peers.Peer, at place, now time.Time) (wire.PeerStatus, pulse) {
	row := wire.PeerStatus{
		Host: p.Name, ID: p.ID, Site: p.Site, State: wire.PeerDown, AllowedIPs: []netip.Prefix{},
	}
	row.Address, row.Address6 = overlayAddresses(p)
	if at.peer == nil {
		if now.Sub(l.plan.since) < connectingFor {
			row.State = wire.PeerConnecting
		}
		return row, pulse{since: l.plan.since}
	}
	k := at.peer
	pulse := l.health.pulses[peers.AttemptKey{Link: at.in.Name, Key: k.Key}]
	row.State = pulse.state(k, now)
	row.Interface, row.Generation = at.in.Name, at.in.Generation
	row.RxBytes, row.TxBytes = k.Rx, k.Tx
	row.MTU = at.mtu
	if link, ok := l.seen.state.LinkNamed(at.in.Name); ok && at.mtu == 0 {
		row.MTU = link.MTU
	}
	row.AllowedIPs = append(row.AllowedIPs, k.Allowed...)
	if k.Endpoint.IsValid() {
		row.Endpoint = k.Endpoint.String()
	}
	if !k.LastHandshake.IsZero() {
		at := k.LastHandshake.UTC()
		row.LastHandshake = &at
	}
	return row, pulse
}

func controllerStatus(v control.View, enrolled bool) wire.ControllerStatus {
	c := wire.ControllerStatus{Address: v.Address, Connected: v.Connected}
	if c.Address == "" && len(v.Controllers) > 0 {
		c.Address = v.Controllers[0]
	}
	if !v.Last.IsZero() {
		last := v.Last.UTC()
		c.LastContact = &last
	}
	switch {
	case !v.Connected && v.Fault != nil:
		c.Error = v.Fault.Detail
	case !v.Connected && enrolled:
		c.Error = "not connected yet"
	}
	return c
}

// controlProblems are those that the controller, or its absence, makes. It is not told of them.
func (l *loop) controlProblems(v control.View) []peers.Problem {
	var out []peers.Problem
	if v.Fault != nil && !v.Connected {
		out = append(out, peers.Problem{Code: v.Fault.Code, At: "controller", Message: v.Fault.Detail, Hint: v.Fault.Hint})
	}
	if v.Pending && v.Connected {
		out = append(out, peers.Problem{
			Code: codeApproval, At: "host/" + l.me.member.Name, Message: "an admin must approve this host",
			Hint: "on the controller: warren host approve " + l.me.member.Name,
		})
	}
	out = append(out, l.keyProblems(time.Now())...)
	if ahead := v.Ahead; ahead.Abs() > clockTolerance {
		out = append(out, clockProblem(ahead))
	}
	return out
}

// keyProblems tell of a rotation that should have begun. The controller knows that better, and is not told.
func (l *loop) keyProblems(now time.Time) []peers.Problem {
	if l.plan == nil {
		return nil
	}
	until := l.plan.want.Mesh.KeysUntil
	if until.IsZero() || !now.After(until) {
		return nil
	}
	return []peers.Problem{{
		Code: codeKeyAge, At: "mesh/schedule",
		Message: "the keys are older than the schedule wants: a rotation should have begun by " + until.UTC().Format(time.RFC3339),
		Hint:    "on the controller: warren rotate schedule",
	}}
}

// since is a time that may be unknown.
func since(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func clockProblem(ahead time.Duration) peers.Problem {
	way := "ahead of"
	if ahead < 0 {
		way = "behind"
	}
	return peers.Problem{
		Code: codeClock, At: "clock",
		Message: "this host's clock is " + ahead.Abs().Round(time.Second).String() + " " + way + " the controller's",
		Hint:    "handshakes carry times that must grow: set the clock (timedatectl set-ntp true)",
	}
}

// hostState adds it all up in one word.
func (l *loop) hostState(s *wire.Status, v control.View) string {
	if l.me.member == nil && l.plan == nil {
		return wire.StateUnenrolled
	}
	count := map[string]int{}
	for _, p := range s.Peers {
		count[p.State]++
	}
	switch {
	case v.Refused(), len(s.Interfaces) == 0, !l.anyUp():
		return wire.StateDown
	case len(s.Peers) > 0 && count[wire.PeerDown] == len(s.Peers):
		return wire.StateDown
	case len(s.Problems) > 0, count[wire.PeerUp] < len(s.Peers), !v.Connected:
		return wire.StateDegraded
	}
	return wire.StateOK
}

// anyUp reports whether one of the planned interfaces works.
func (l *loop) anyUp() bool {
	return slices.ContainsFunc(l.plan.want.Interfaces, func(in peers.Interface) bool {
		have, ok := l.seen.state.LinkNamed(in.Name)
		return ok && have.Up
	})
}

// peerReports are what the controller hears of the peers, on every interface that has them.
func (l *loop) peerReports() []wire.PeerReport {
	if l.plan == nil {
		return nil
	}
	now := time.Now()
	p := &l.plan.want
	at := l.places()
	out := make([]wire.PeerReport, 0, len(p.Peers))
	for i := range p.Interfaces {
		in := &p.Interfaces[i]
		have := byKey(&l.seen.state, in.Name)
		for j := range p.Peers {
			peer := &p.Peers[j]
			k, _ := peer.Key(in.Generation)
			found := have[k]
			if found == nil {
				continue
			}
			where := at[peer.ID]
			out = append(out, wire.PeerReport{
				ID: peer.ID, Generation: in.Generation, Routed: l.routed(in, peer.ID, where),
				State: l.health.pulses[peers.AttemptKey{Link: in.Name, Key: k}].state(found, now),
			})
		}
	}
	return out
}
