package agent

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// doubleWithin is how long a gateway tries to send packets a second time before it hands over without.
const doubleWithin = 5 * time.Second

// holdAtMost is how long second copies wait: a host that has changed gets all packets late until the last one has, and that
// may take as long as it has no way to the next gateway.
const holdAtMost = 10 * time.Second

// choose gives the plan what the scout has decided.
func (l *loop) choose(want *peers.Plan) {
	v := l.scout.verdict()
	want.Acting = v.acting
	own := want.OwnSite()
	if own == nil {
		return
	}
	if v.virtual {
		want.Virtual, want.Virtual6 = own.Virtual, own.Virtual6
	}
	if v.double == "" {
		return
	}
	networks := lanOf(want)
	d := peers.Doubling{From: networks, Held: v.hold}
	if a := v.near.Near; a.IsValid() && slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) }) {
		d.Near, d.Link = a, l.seen.state.LinkTo(a)
	}
	if a := v.near.Near6; a.IsValid() && slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) }) {
		if link := l.seen.state.LinkTo(a); d.Link == "" || d.Link == link {
			d.Near6, d.Link = a, link
		}
	}
	if d.Link != "" {
		want.Doubling = d
	}
}

// lanOf are the networks of the host's own site as its LAN has them, where the host is a gateway.
func lanOf(p *peers.Plan) (out []netip.Prefix) {
	for _, n := range p.Forwards() {
		out = append(out, n.Prefix)
	}
	return out
}

// report to the scout how things are after a turn.
func (l *loop) briefScout(ctx context.Context, want *peers.Plan) {
	if l.briefed.plan != l.plan {
		l.briefed = newBriefed(l.plan)
	}
	b := l.briefed.briefing
	s := &l.seen.state
	b.using = want.ActingIn(s, b.sites)
	if b.home != "" {
		networks := lanOf(want)
		b.leg = s.Leg(networks)
		b.near, b.near6 = s.Near(networks)
		b.draining = want.Self.Draining
		b.doubles = s.Doubling.There
		b.holds = slices.ContainsFunc(s.Local, func(a peers.Local) bool { return a.Virtual })
		if v := l.scout.verdict(); v.handing && l.handed(want, v) {
			b.ready = v.double
		}
	}
	l.scout.tell(ctx, b)
}

// handed reports whether packets go to the next gateway as well, or cannot.
func (l *loop) handed(want *peers.Plan, v verdict) bool {
	is := &l.seen.state.Doubling
	return want.Doubling.IsEmpty() || is.Fault != "" || is.Digest == want.Doubling.Digest() || time.Since(v.since) > doubleWithin
}

// briefed is the part of a briefing that is the same for as long as the plan is.
type briefed struct {
	plan *planned
	briefing
}

func newBriefed(plan *planned) briefed {
	p := &plan.want
	out := briefed{plan: plan, briefing: briefing{
		self: p.Self.ID, from: p.Self.Address, sites: p.Contested(), address: map[peers.HostID]netip.Addr{},
		names: map[peers.HostID]string{p.Self.ID: p.Self.Name},
	}}
	if len(out.sites) == 0 {
		return out
	}
	out.elsewhere = p.Elsewhere()
	out.others = othersOf(&out.briefing)
	for i := range out.sites {
		if site := &out.sites[i]; site.Name == p.Self.Site {
			out.home, out.checks = site.Name, site.LANCheck
		}
		for _, id := range out.sites[i].Gateways {
			at, ok := slices.BinarySearchFunc(p.Peers, peers.Peer{ID: id}, peers.ComparePeers)
			if ok {
				out.address[id], _ = overlayAddresses(&p.Peers[at])
				out.names[id] = p.Peers[at].Name
			}
		}
	}
	return out
}
