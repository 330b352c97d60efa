package agent

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// Times of watching gateways.
const (
	scoutEvery  = 500 * time.Millisecond // between questions to a gateway that matters now
	scoutSeldom = 4                      // times as seldom to one that may matter later
	usedFor     = 2500 * time.Millisecond
	cutUsed     = 2 * time.Second         // who was asked twice a second, and is not any more
	cutUnused   = 6500 * time.Millisecond // who was asked once in two seconds
	doubleAfter = 10 * time.Second        // to hosts of the LAN that have not noticed yet where to send
)

// A scout watches the gateways of sites that have several: it asks them through the tunnels how they are, says how
// this host is where it is one of them, and decides by peers.Elect. It neither needs the controller nor changes
// anything: the loop takes what it has decided, and tells it what has become of that.
type scout struct {
	prober     Watcher
	neighbours Neighbours
	log        *slog.Logger
	news       chan struct{} // something was decided

	mu      sync.Mutex
	ctx     context.Context
	brief   briefing
	posts   map[peers.HostID]*post
	asked   map[netip.Addr]asked
	heardAt time.Time // of a host of another site, last
	choices map[string]peers.Choice
	word    peers.Word
	since   time.Time // when this host has begun or ceased to hand over
	handed  bool      // and it has done so of its own will
	moves   map[string]uint64
	look    lookout
	told    verdict // the last that the loop was woken for
	lan     lanCheck
}

// A briefing is what the loop tells the scout.
type briefing struct {
	self      peers.HostID
	from      netip.Addr
	home      string // the site that this host is a gateway of; "" for none
	sites     []peers.PlanSite
	address   map[peers.HostID]netip.Addr
	names     map[peers.HostID]string
	elsewhere map[netip.Addr]peers.HostID
	others    []netip.Addr            // of these, whom to ask
	using     map[string]peers.HostID // by which gateway the kernel reaches each site
	leg       peers.Leg
	checks    []netip.Addr // of the LAN, to be asked
	near      netip.Addr
	near6     netip.Addr
	draining  bool
	holds     bool         // it has the virtual address
	ready     peers.HostID // packets go to that gateway as well, or cannot
	doubles   bool
}

// asked is what another host has said when it asked this one.
type asked struct {
	using peers.HostID
	at    time.Time
}

// A post is a gateway that is watched.
type post struct {
	stop    context.CancelFunc
	ask     func(peers.HostID)
	address netip.Addr
	from    netip.Addr
	seen    peers.Observed
	open    bool // a question has no answer yet
	rounds  int  // since the last question
}

func newScout(p Watcher, n Neighbours, log *slog.Logger) *scout {
	s := &scout{
		prober: p, neighbours: n, log: log, news: make(chan struct{}, 1), posts: map[peers.HostID]*post{},
		asked: map[netip.Addr]asked{}, look: lookout{lines: map[netip.Addr]*lookoutLine{}},
		choices: map[string]peers.Choice{}, moves: map[string]uint64{},
		lan: lanCheck{again: make(chan struct{}, 1), hearings: map[netip.Addr]peers.Hearing{}, why: map[netip.Addr]string{}},
	}
	p.Speak(s.speak)
	return s
}

// run asks until ctx ends.
func (s *scout) run(ctx context.Context) {
	ticker := time.NewTicker(scoutEvery)
	defer ticker.Stop()
	defer s.prober.Speak(nil)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.round(time.Now())
		}
	}
}

// round notes which questions were not answered, decides, and asks again.
func (s *scout) round(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.posts {
		if p.open {
			p.seen = p.seen.Silent(now)
			p.open = false
		}
	}
	s.decide(now)
	s.lookOut(now)
	for _, site := range s.brief.sites {
		alarmed := s.alarmed(&site)
		for _, id := range site.Gateways {
			p := s.posts[id]
			if p == nil || id == s.brief.self {
				continue
			}
			p.rounds++
			if alarmed || p.seen.Missed > 0 || id == s.choices[site.Name].Gateway || site.Name == s.brief.home || p.rounds >= scoutSeldom {
				s.question(&site, p)
			}
		}
	}
}

func (s *scout) question(site *peers.PlanSite, p *post) {
	p.open, p.rounds = true, 0
	p.ask(s.brief.using[site.Name])
}

// alarmed reports whether all gateways of a site matter now.
func (s *scout) alarmed(site *peers.PlanSite) bool {
	c := s.choices[site.Name]
	p := s.posts[c.Gateway]
	return c.Gateway == "" || p != nil && (!p.seen.Fit || p.seen.Missed > 0 || p.seen.Word.Acting != c.Gateway)
}

// heard takes in an answer.
func (s *scout) heard(id peers.HostID, p *post, w peers.Word, refused bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.posts[id] != p {
		return
	}
	was := p.seen
	p.open = false
	if p.seen = was.Answered(w, now); refused {
		p.seen = was.Refused(now)
	}
	if s.brief.elsewhere[p.address] != "" {
		s.heardAt = now
	}
	if p.seen.Fit != was.Fit || p.seen.Word != was.Word {
		s.decide(now)
	}
}

// speak is this host's word to who asks for it.
func (s *scout) speak(from netip.Addr, using peers.HostID) peers.Word {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.brief.elsewhere[from] != "" {
		s.heardAt = now
		if was := s.asked[from]; was.using != using {
			s.asked[from] = asked{using, now}
			s.decide(now)
		}
		s.asked[from] = asked{using, now}
	}
	return s.word
}

// decide elects, and wakes the loop where that has changed anything.
func (s *scout) decide(now time.Time) {
	s.word = s.say(now)
	for i := range s.brief.sites {
		s.elect(&s.brief.sites[i], now)
	}
	s.word = s.say(now)
	if v := s.view(); !v.equal(s.told) {
		s.told = v
		select {
		case s.news <- struct{}{}:
		default:
		}
	}
}

func (s *scout) elect(site *peers.PlanSite, now time.Time) {
	was := s.choices[site.Name]
	e := s.electorate(site, now)
	next := e.Elect(was, now)
	s.choices[site.Name] = next
	if next.Gateway != was.Gateway && was.Gateway != "" {
		seen := e.Seen[was.Gateway]
		s.moves[site.Name]++
		s.log.Info("a site is reached by another gateway", "site", site.Name, "gateway", s.brief.names[next.Gateway],
			"before", s.brief.names[was.Gateway], "because", seen.Why())
	}
	if e.Self == "" {
		return
	}
	if next.To != was.To || next.Gateway != was.Gateway {
		s.since, s.handed = now, next.Gateway != e.Self && was.To == next.Gateway
	}
}

func (s *scout) electorate(site *peers.PlanSite, now time.Time) peers.Electorate {
	e := peers.Electorate{Gateways: site.Gateways, Seen: make(map[peers.HostID]peers.Observed, len(site.Gateways))}
	for _, id := range site.Gateways {
		if p := s.posts[id]; p != nil {
			e.Seen[id] = p.seen
		}
	}
	if site.Name == s.brief.home {
		e.Self = s.brief.self
		e.Seen[e.Self] = s.own(now)
		to := s.choices[site.Name].To
		e.Moved = to != "" && s.brief.ready == to && !s.used(now)
	}
	return e
}

// own is how this host sees itself.
func (s *scout) own(now time.Time) peers.Observed {
	var o peers.Observed
	if p := s.posts[s.brief.self]; p != nil {
		o = p.seen
	} else {
		p = &post{}
		s.posts[s.brief.self] = p
	}
	o = o.Answered(s.word, now)
	s.posts[s.brief.self].seen = o
	return o
}

// used reports whether a host of another site sends to this one.
func (s *scout) used(now time.Time) bool {
	for from, a := range s.asked {
		if now.Sub(a.at) >= usedFor {
			delete(s.asked, from)
		} else if a.using == s.brief.self {
			return true
		}
	}
	return false
}

// cut reports whether this host hears of nobody of another site, where there should be somebody.
func (s *scout) cut(now time.Time) bool {
	limit := cutUnused
	if s.word.Used {
		limit = cutUsed
	}
	return len(s.brief.elsewhere) > 0 && (s.word.Cut || now.Sub(s.heardAt) > limit) && now.Sub(s.heardAt) > cutUsed
}

// say is what this host has to say of itself.
func (s *scout) say(now time.Time) peers.Word {
	b := &s.brief
	if b.home == "" {
		return peers.Word{}
	}
	c := s.choices[b.home]
	w := peers.Word{
		LAN: b.leg, Draining: b.draining, Home: c.Gateway == b.self || b.holds, Doubles: b.doubles, Near: b.near, Near6: b.near6,
		Cut: s.cut(now), Used: s.used(now),
	}
	if s.lan.silent && w.LAN == peers.LegUp {
		w.LAN, w.Silent = peers.LegDown, true // agents that do not know silence know what that is
	}
	e := peers.Electorate{Self: b.self, Seen: map[peers.HostID]peers.Observed{}}
	for i := range b.sites {
		if b.sites[i].Name == b.home {
			e.Gateways = b.sites[i].Gateways
		}
	}
	for _, id := range e.Gateways {
		if p := s.posts[id]; p != nil {
			e.Seen[id] = p.seen
		}
	}
	if c.To != "" && b.ready != c.To {
		c.To = "" // not before packets go there, too
	}
	w.Acting = e.Says(c)
	return w
}

// tell gives the scout a new briefing. The first one of a site says what the host uses already.
func (s *scout) tell(ctx context.Context, b briefing) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heardAt.IsZero() || s.brief.home != b.home {
		s.heardAt = now
	}
	before := s.brief.checks
	if s.brief.from != b.from || !slices.Equal(s.brief.others, b.others) {
		s.look.end()
	}
	s.ctx, s.brief = ctx, b
	s.expect(before, now)
	s.station()
	known := map[string]bool{}
	for i := range b.sites {
		site := &b.sites[i]
		known[site.Name] = true
		if _, ok := s.choices[site.Name]; ok {
			continue
		}
		c := peers.Choice{Gateway: b.using[site.Name], At: now}
		if site.Name == b.home {
			if c = (peers.Choice{}); b.holds {
				c = peers.Choice{Gateway: b.self, At: now}
			}
		}
		s.choices[site.Name] = c
	}
	maps.DeleteFunc(s.choices, func(name string, _ peers.Choice) bool { return !known[name] })
	s.decide(now)
}

// station makes the posts those of the briefing.
func (s *scout) station() {
	wanted := map[peers.HostID]bool{}
	for i := range s.brief.sites {
		site := &s.brief.sites[i]
		for _, id := range site.Gateways {
			address := s.brief.address[id]
			if id == s.brief.self {
				wanted[id] = true
				continue
			}
			if p := s.posts[id]; address.IsValid() && (p == nil || p.address != address || p.from != s.brief.from) {
				s.post(site, id, address)
			}
			wanted[id] = wanted[id] || address.IsValid()
		}
	}
	for id, p := range s.posts {
		if !wanted[id] {
			s.dismiss(id, p)
		}
	}
}

func (s *scout) post(site *peers.PlanSite, id peers.HostID, address netip.Addr) {
	if was := s.posts[id]; was != nil {
		s.dismiss(id, was)
	}
	ctx, stop := context.WithCancel(s.ctx)
	p := &post{stop: stop, address: address, from: s.brief.from}
	p.ask = s.prober.Watch(ctx, p.from, address, func(w peers.Word, refused bool) { s.heard(id, p, w, refused) })
	s.posts[id] = p
	s.question(site, p)
}

func (s *scout) dismiss(id peers.HostID, p *post) {
	if p.stop != nil {
		p.stop()
	}
	delete(s.posts, id)
}
