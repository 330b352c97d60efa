package agent

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	maxPings  = 1000
	usualMTU  = 1420
	mostHosts = 20 // named in a hint
)

// Ping probes the tunnel to a host, which is named or given by one of its overlay addresses.
func (a *Agent) Ping(ctx context.Context, host string, count int, each func(wire.PingReply)) error {
	status, err := a.Status(ctx)
	if err != nil {
		return err
	}
	row, to, fault := target(&status, host)
	if fault != nil {
		return fault
	}
	mtu := usualMTU
	err = a.do(ctx, func(_ context.Context, l *loop) {
		if way := l.trials.of[row.ID].way; way.most != 0 {
			mtu = way.most
		}
	})
	if err != nil {
		return err
	}
	sum, err := a.cfg.Prober.Ping(ctx, to, mtu, min(max(count, 1), maxPings), each)
	if err != nil {
		return wire.NewFault(http.StatusBadGateway, "ping-failed", fmt.Sprintf("ping %s: %v", host, err), "warren doctor")
	}
	sum.Host, sum.Address, sum.Generation, sum.Interface = row.Host, to, row.Generation, row.Interface
	sum.MTU = mtu
	each(wire.PingReply{Summary: &sum})
	return nil
}

// target finds the peer that is meant.
func target(s *wire.Status, host string) (wire.PeerStatus, netip.Addr, *wire.Fault) {
	if s.State == wire.StateUnenrolled {
		return wire.PeerStatus{}, netip.Addr{}, faultUnenrolled()
	}
	address, _ := netip.ParseAddr(host)
	for _, p := range s.Peers {
		switch {
		case p.Host == host:
			return p, p.Address, nil
		case address.IsValid() && (address == p.Address || address == p.Address6):
			return p, address, nil
		}
	}
	var names []string
	for _, p := range s.Peers {
		names = append(names, p.Host)
	}
	hint := "this host has no peers: warren status"
	if len(names) > 0 {
		hint = fmt.Sprintf("its peers are %v", names[:min(len(names), mostHosts)])
	}
	if host == s.Host {
		hint = "that is this host itself; " + hint
	}
	return wire.PeerStatus{}, netip.Addr{}, wire.NewFault(http.StatusNotFound, "host-unknown",
		fmt.Sprintf("this host has no peer %q", host), hint)
}

func faultUnenrolled() *wire.Fault {
	return wire.NewFault(http.StatusConflict, "unenrolled", "this host is not enrolled",
		"get a token from an admin, then: warren enroll TOKEN")
}

// Doctor looks for the known causes of trouble.
func (a *Agent) Doctor(ctx context.Context) ([]wire.Finding, error) {
	var p peers.Plan
	var state peers.State
	var status wire.Status
	var ahead time.Duration
	err := a.do(ctx, func(ctx context.Context, l *loop) {
		l.refresh(ctx)
		if l.plan != nil {
			p, state = l.plan.want, l.seen.state
		} else if now, err := l.Kernel.Observe(ctx); err == nil {
			state = now
		}
		status, ahead = a.board.look().status, l.link.view().Ahead
	})
	if err != nil {
		return nil, err
	}
	return a.cfg.Doctor.Examine(ctx, status, p, state, ahead), nil
}

// answerProbes keeps the prober's addresses those that the tunnels have.
func (l *loop) answerProbes() {
	if l.plan == nil {
		return
	}
	p := &l.plan.want
	var own []netip.Addr
	for _, a := range []netip.Addr{p.Self.Address, p.Self.Address6} {
		prefix := netip.PrefixFrom(a, a.BitLen())
		there := slices.ContainsFunc(l.seen.state.Links, func(link peers.Link) bool {
			return link.Up && slices.Contains(link.Addresses, prefix)
		})
		if there {
			own = append(own, a)
		}
	}
	l.Prober.Answer(own, l.plan.known)
}
