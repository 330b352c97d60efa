package agent

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Neighbours asks hosts on links of this host's own whether they are there. It is used by one goroutine.
type Neighbours interface {
	// Ask asks an address, and tells what has become of the question before, without waiting. The error says why it
	// cannot be asked, or where there is no way to it, which is as good as no answer.
	Ask(address netip.Addr) (peers.Answer, error)
}

// A lanCheck is what a gateway has heard of the addresses of its LAN that it asks.
type lanCheck struct {
	again    chan struct{} // others are to be asked
	hearings map[netip.Addr]peers.Hearing
	why      map[netip.Addr]string // that one cannot be asked
	silent   bool
}

// checkLAN asks until ctx ends. A carrier says that there is a next switch; whether there is a LAN behind it is known
// by who answers. Where nobody is to be asked it sleeps.
func (s *scout) checkLAN(ctx context.Context) {
	ticker := time.NewTicker(peers.LANAskEvery)
	defer ticker.Stop()
	for {
		addresses := s.toAsk()
		tick := ticker.C
		if len(addresses) == 0 {
			tick = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-s.lan.again:
			ticker.Reset(peers.LANAskEvery)
		case <-tick:
			s.askLAN(addresses)
		}
	}
}

func (s *scout) toAsk() []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.brief.checks
}

// askLAN asks each address once, and decides where that has changed how this host is.
func (s *scout) askLAN(addresses []netip.Addr) {
	answers, why := make([]peers.Answer, len(addresses)), make([]string, len(addresses))
	for i, a := range addresses {
		answer, err := s.neighbours.Ask(a)
		if answers[i] = answer; err != nil {
			why[i] = err.Error()
		}
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(addresses, s.brief.checks) {
		return // others are to be asked now
	}
	for i, a := range addresses {
		s.lan.hearings[a] = s.lan.hearings[a].After(answers[i], now)
		s.lan.why[a] = why[i]
	}
	if s.judgeLAN(now) {
		s.decide(now)
	}
}

// judgeLAN finds out whether the LAN is silent, and reports whether that is news.
func (s *scout) judgeLAN(now time.Time) bool {
	all := make([]peers.Hearing, len(s.brief.checks))
	for i, a := range s.brief.checks {
		all[i] = s.lan.hearings[a]
	}
	silent := peers.LANSilent(all, now)
	if silent == s.lan.silent {
		return false
	}
	s.lan.silent = silent
	if silent {
		s.log.Warn("nobody in the LAN answers", "site", s.brief.home, "asked", s.brief.checks)
	} else {
		s.log.Info("somebody in the LAN answers again", "site", s.brief.home)
	}
	return true
}

// expect makes the addresses that are asked those of the briefing. One that is new is taken for one that answers until
// it has been asked for a while.
func (s *scout) expect(before []netip.Addr, now time.Time) {
	if slices.Equal(before, s.brief.checks) {
		return
	}
	for _, a := range before {
		if !slices.Contains(s.brief.checks, a) {
			delete(s.lan.hearings, a)
			delete(s.lan.why, a)
		}
	}
	s.judgeLAN(now)
	select {
	case s.lan.again <- struct{}{}:
	default:
	}
}

// lanStatus is what was heard of the addresses of the LAN.
func (s *scout) lanStatus(now time.Time) (out []wire.LANCheckStatus) {
	for _, a := range s.brief.checks {
		h := s.lan.hearings[a]
		row := wire.LANCheckStatus{Address: a, State: wire.LANAnswers, Why: s.lan.why[a]}
		switch {
		case h.Unknown:
			row.State = wire.LANUnknown
		case h.Silent(now):
			row.State, row.Since = wire.LANSilent, since(h.Since)
		}
		out = append(out, row)
	}
	return out
}

// lanProblems are a LAN that is silent, and addresses that cannot be asked.
func (s *scout) lanProblems(now time.Time) (out []peers.Problem) {
	rows := s.lanStatus(now)
	if s.lan.silent && s.brief.leg == peers.LegUp {
		p := peers.Problem{
			Code: codeLANSilent, At: "site/" + s.brief.home, Message: "the link to the LAN is up, but nobody answers there:",
			Hint: "look at the switch behind the link, and for these hosts: ip neighbour show; to ask others: warren site set " +
				s.brief.home + " --lan-check ADDRESS",
		}
		for _, r := range rows {
			if p.Message += " " + r.Address.String(); r.Why != "" {
				p.Message += " (" + r.Why + ")"
			}
		}
		out = append(out, p)
	}
	for _, r := range rows {
		if r.State == wire.LANUnknown {
			out = append(out, peers.Problem{
				Code: codeLANUnknown, At: "site/" + s.brief.home, Message: r.Address.String() + " says nothing of the LAN: " + r.Why,
				Hint: "ask another one: warren site set " + s.brief.home + " --lan-check ADDRESS",
			})
		}
	}
	return out
}
