package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Times of trials. One that finds nothing wrong costs two packets.
const (
	trialSoon   = 2 * time.Second // after a peer came up or its way changed
	trialEvery  = 5 * time.Minute // give or take a fifth
	trialFirst  = 10 * time.Second
	trialAgain  = time.Minute // at most, between trials of a way that was found to be narrow
	trialWithin = 15 * time.Second
	trialAtOnce = 8
)

// trials find out what the host's routes do not tell: ways on which large packets are lost without a word,
// because a router drops ICMP. From time to time a packet of the largest size is sent through each tunnel
// to the agent at its other end; if only smaller ones arrive, the routes to that peer become narrower.
type trials struct {
	of      map[peers.HostID]trial
	spare   map[peers.HostID]trial // empty, to be the next of
	running bool
	results chan []outcome
}

// A trial is that of one peer.
type trial struct {
	way   trialWay
	found int // the largest packet that arrives; 0 before the first outcome
	due   time.Time
	pause time.Duration // between trials of a narrow way
}

// A trialWay is what a trial is valid for.
type trialWay struct {
	link     string
	endpoint netip.AddrPort
	most     int // the largest packet that the way promises to take
}

func (t trial) narrow() bool { return t.found != 0 && t.found < t.way.most }

// An outcome is what was found: 0 for nothing, because the other agent did not answer.
type outcome struct {
	id    peers.HostID
	way   trialWay
	found int
}

// note takes over an observation: which peers there are, and which of them are up.
func (t *trials) note(s *peers.State, p *peers.Plan, at map[peers.HostID]place, up func(place) bool, now time.Time) {
	next := t.spare
	if next == nil {
		next = make(map[peers.HostID]trial, len(p.Peers))
	}
	for i := range p.Peers {
		id := p.Peers[i].ID
		was, known := t.of[id]
		if here := at[id]; here.routed && up(here) {
			if way := wayOf(s, here); !known || way != was.way {
				was, known = trial{way: way, due: now.Add(trialSoon)}, true
			}
		}
		if known {
			next[id] = was
		}
	}
	clear(t.of)
	t.of, t.spare = next, t.of
}

func wayOf(s *peers.State, at place) trialWay {
	w := trialWay{link: at.in.Name, endpoint: at.peer.Endpoint}
	if link, ok := s.LinkNamed(at.in.Name); ok {
		w.most = link.MTU
	}
	if fits := at.peer.Fits(); fits != 0 && fits < w.most {
		w.most = max(peers.Padded(fits), peers.LeastMTU)
	}
	return w
}

// known is what was found, as Diff takes it.
func (t *trials) known() map[peers.HostID]int {
	out := make(map[peers.HostID]int, len(t.of))
	for id, one := range t.of {
		if one.found != 0 {
			out[id] = one.found
		}
	}
	return out
}

// try begins the trials that are due.
func (l *loop) try(ctx context.Context, now time.Time) {
	if l.plan == nil || l.trials.running {
		return
	}
	var due []outcome
	to := map[peers.HostID]netip.Addr{}
	for i := range l.plan.want.Peers {
		p := &l.plan.want.Peers[i]
		one, ok := l.trials.of[p.ID]
		address, _ := overlayAddresses(p)
		if ok && !now.Before(one.due) && address.IsValid() && len(due) < trialAtOnce {
			due = append(due, outcome{id: p.ID, way: one.way})
			to[p.ID] = address
		}
	}
	if len(due) == 0 {
		return
	}
	l.trials.running = true
	l.tasks.Go(func() {
		for i := range due {
			due[i].found = l.tryOne(ctx, to[due[i].id], due[i].way.most)
		}
		select {
		case l.trials.results <- due:
		case <-ctx.Done():
		}
	})
}

// tryOne is the largest packet up to a size that arrives at an address; 0 for no answer at all.
func (l *loop) tryOne(ctx context.Context, to netip.Addr, most int) int {
	ctx, cancel := context.WithTimeout(ctx, trialWithin)
	defer cancel()
	sum, err := l.Prober.Ping(ctx, to, most, 1, func(wire.PingReply) {})
	if err != nil || sum.Received == 0 {
		return 0
	}
	return sum.PathMTU
}

// tried takes over outcomes, and makes the routes as wide or narrow as they are to be.
func (l *loop) tried(ctx context.Context, outcomes []outcome) {
	l.trials.running = false
	if l.plan == nil {
		return // the host has left the mesh
	}
	changed := false
	for _, o := range outcomes {
		was, ok := l.trials.of[o.id]
		if !ok || was.way != o.way {
			continue // another way by now
		}
		is := was.after(o.found, time.Now())
		l.trials.of[o.id] = is
		if is.narrow() && !was.narrow() {
			l.Log.Warn("large packets to a peer are lost on the way", "host", l.nameOf(o.id), "arrives", is.found, "lost", is.way.most)
		} else if was.narrow() && !is.narrow() {
			l.Log.Info("large packets to a peer arrive again", "host", l.nameOf(o.id), "arrives", is.found)
		}
		// That the largest packet arrives makes no difference to a route that is as wide as its interface.
		narrow := is.narrow() || was.narrow() || l.places()[o.id].mtu != 0
		changed = changed || narrow && is.found != was.found
	}
	if changed {
		l.turn(ctx, byPlan)
	}
}

// after is the trial with an outcome.
func (t trial) after(found int, now time.Time) trial {
	if found != 0 {
		t.found = found
	}
	if !t.narrow() {
		t.pause = 0
		t.due = now.Add(trialEvery*4/5 + rand.N(trialEvery*2/5))
		return t
	}
	t.pause = min(max(2*t.pause, trialFirst), trialAgain)
	t.due = now.Add(t.pause)
	return t
}

// narrowProblems name the ways that lose large packets.
func (l *loop) narrowProblems() []peers.Problem {
	var out []peers.Problem
	for i := range l.plan.want.Peers {
		p := &l.plan.want.Peers[i]
		if one := l.trials.of[p.ID]; one.narrow() {
			out = append(out, peers.Problem{
				Code: codeBlackHole, At: "peer/" + p.Name,
				Message: fmt.Sprintf("packets of more than %d bytes to %s are lost on the way, and no router says so: "+
					"they are kept that small meanwhile", one.found, p.Name),
				Hint: fmt.Sprintf("let ICMP through on the way (fragmentation needed, packet too big); "+
					"or for all hosts, on the controller: warren mesh set mtu=%d", max(one.found, peers.LeastMTU)),
			})
		}
	}
	return out
}

func (l *loop) nameOf(id peers.HostID) string {
	i := slices.IndexFunc(l.plan.want.Peers, func(p peers.Peer) bool { return p.ID == id })
	if i < 0 {
		return string(id)
	}
	return l.plan.want.Peers[i].Name
}
