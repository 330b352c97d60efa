package agent

import (
	"maps"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// A verdict is what the scout has decided, for the loop to do.
type verdict struct {
	acting map[string]peers.HostID // of other sites
	// virtual says that the host has to have the virtual address of its site.
	virtual bool
	// double is the gateway to which packets from the LAN go as well; handing says that it is about to take over.
	double  peers.HostID
	near    peers.Word // of that gateway, for its addresses
	handing bool
	hold    bool // copies wait: hosts change now
	since   time.Time
}

func (v verdict) equal(o verdict) bool {
	return maps.Equal(v.acting, o.acting) && v.virtual == o.virtual && v.double == o.double && v.handing == o.handing &&
		v.hold == o.hold &&
		v.near.Near == o.near.Near && v.near.Near6 == o.near.Near6
}

// verdict is what is decided now.
func (s *scout) verdict() verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view()
}

func (s *scout) view() verdict {
	v := verdict{acting: make(map[string]peers.HostID, len(s.choices))}
	for name, c := range s.choices {
		if name != s.brief.home && c.Gateway != "" {
			v.acting[name] = c.Gateway
		}
	}
	if s.brief.home == "" {
		return v
	}
	c := s.choices[s.brief.home]
	// Where the LAN is silent and it acts nevertheless, no other gateway hears of anybody either.
	leg := s.word.LAN != peers.LegDown || s.word.Silent
	v.virtual = c.Gateway == s.brief.self && leg && !s.alone()
	v.since = s.since
	switch {
	case c.To != "":
		v.double, v.handing, v.hold = c.To, true, time.Since(s.since) < holdAtMost
	case s.handed && c.Gateway != s.brief.self && (s.brief.draining || s.lately()):
		v.double = c.Gateway
	}
	return s.doubling(v)
}

// doubling completes a verdict by which packets are sent a second time.
func (s *scout) doubling(v verdict) verdict {
	p := s.posts[v.double]
	if p == nil {
		return v
	}
	v.near = p.seen.Word
	// One that hands over itself is not sent to: two that send to each other would never end. But what it has said
	// before it took over means nothing.
	away := !v.handing && p.seen.Word.Acting != v.double && time.Since(s.since) >= peers.StaleAfter
	if !p.seen.Fit || away {
		v.double = ""
	}
	return v
}

// lately reports whether the host has handed over a moment ago.
func (s *scout) lately() bool { return time.Since(s.since) < doubleAfter }

// alone reports whether a gateway that hears of no other site does not hear of its fellows either. Then one of those
// has the LAN, if any gateway has.
func (s *scout) alone() bool {
	if !s.word.Cut {
		return false
	}
	fellows := 0
	for i := range s.brief.sites {
		site := &s.brief.sites[i]
		if site.Name != s.brief.home {
			continue
		}
		for _, id := range site.Gateways {
			p := s.posts[id]
			if id == s.brief.self || p == nil {
				continue
			}
			if fellows++; p.seen.Missed == 0 {
				return false
			}
		}
	}
	return fellows > 0
}
