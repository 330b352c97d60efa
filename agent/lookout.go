package agent

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// Times and numbers of looking out.
const (
	quietFor = time.Second // without a word of another site, before somebody there is asked
	askOut   = 8           // hosts at once, one after the other in large meshes
)

// A lookout is how a gateway finds out whether it is cut off when nobody of another site asks it any more. That may
// also be because their agents do not run, and then they go on sending to this gateway, so it must not give its LAN
// away. So it asks them, and their kernels answer for them: that no agent is there is an answer, too.
type lookout struct {
	lines map[netip.Addr]*lookoutLine
	next  int // whom to ask first
}

type lookoutLine struct {
	stop context.CancelFunc
	ask  func(peers.HostID)
}

// lookOut asks, while it is quiet.
func (s *scout) lookOut(now time.Time) {
	others := s.brief.others
	if s.brief.home == "" || len(others) == 0 || now.Sub(s.heardAt) < quietFor {
		s.look.end()
		return
	}
	for range min(askOut, len(others)) {
		at := others[s.look.next%len(others)]
		s.look.next++
		l := s.look.lines[at]
		if l == nil {
			l = s.lookTo(at)
			s.look.lines[at] = l
		}
		l.ask("")
	}
}

func (s *scout) lookTo(at netip.Addr) *lookoutLine {
	ctx, stop := context.WithCancel(s.ctx)
	l := &lookoutLine{stop: stop}
	l.ask = s.prober.Watch(ctx, s.brief.from, at, func(peers.Word, bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.look.lines[at] == l {
			s.heardAt = time.Now()
			s.decide(s.heardAt)
		}
	})
	return l
}

// end forgets all that were asked.
func (l *lookout) end() {
	for _, line := range l.lines {
		line.stop()
	}
	clear(l.lines)
}

// othersOf are the addresses to ask: those of the family of the own one.
func othersOf(b *briefing) (out []netip.Addr) {
	for at := range b.elsewhere {
		if at.Is4() == b.from.Is4() {
			out = append(out, at)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}
