package controller

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// probeTimeout is how long the older of two sessions with one identity has to prove that it lives.
const probeTimeout = 2 * time.Second

// sessions are the streams that are open, one for each host. The zero value is ready for use.
type sessions struct {
	mu   sync.Mutex
	live map[peers.HostID]*session
}

// enter lets a session in. One of the same identity that is there already stays if it is another run of
// the agent and still answers: then there are two machines with one identity, and the newcomer is
// refused.
func (ss *sessions) enter(ctx context.Context, s *session) error {
	for {
		old, free := ss.place(s)
		if free {
			return nil
		}
		if old.doubted.Swap(true) {
			return busyFault("another session of this identity is just being looked at", probeTimeout)
		}
		lives := old.probe(ctx, probeTimeout)
		old.doubted.Store(false)
		if lives {
			return wire.NewFault(409, "identity-in-use",
				"another machine is connected with the identity of this one",
				"was this disk cloned? On the clone, "+hintAnew)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		old.end(nil)
		ss.drop(old)
	}
}

// place puts a session in where there is none, or one of the same run of the agent, which then ends.
func (ss *sessions) place(s *session) (old *session, free bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.live == nil {
		ss.live = map[peers.HostID]*session{}
	}
	old = ss.live[s.id]
	if old != nil && old.run != s.run {
		return old, false
	}
	if old != nil {
		old.end(nil)
	}
	ss.live[s.id] = s
	return old, true
}

// drop takes a session out, unless another has its place by now.
func (ss *sessions) drop(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.live[s.id] == s {
		delete(ss.live, s.id)
	}
}

// end ends the session of a host for a reason.
func (ss *sessions) end(id peers.HostID, why *wire.Fault) {
	ss.mu.Lock()
	s := ss.live[id]
	ss.mu.Unlock()
	if s != nil {
		s.end(why)
	}
}

// toRetire lets the session of a host look for pairs to retire.
func (ss *sessions) toRetire(id peers.HostID) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if s := ss.live[id]; s != nil {
		offer(s.retire)
	}
}

func (ss *sessions) online(id peers.HostID) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.live[id] != nil
}

func (ss *sessions) ids() []peers.HostID {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return slices.Collect(maps.Keys(ss.live))
}

// cutStuck cuts the sessions that have been writing the same piece since before a time.
func (ss *sessions) cutStuck(since time.Time) {
	ss.mu.Lock()
	var stuck []*session
	for _, s := range ss.live {
		if at := s.writing.Load(); at != 0 && at < since.UnixNano() {
			stuck = append(stuck, s)
		}
	}
	ss.mu.Unlock()
	for _, s := range stuck {
		s.pipe.Cut()
	}
}
