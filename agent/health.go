package agent

import (
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Times after which a peer is called otherwise.
const (
	sessionLife   = 180 * time.Second // after its last handshake a session is dead (REJECT_AFTER_TIME)
	connectingFor = 20 * time.Second
	tryEach       = 7 * time.Second // what one endpoint candidate of a new peer may take
)

// health remembers what a single look at the kernel does not tell.
type health struct {
	memo      memo
	attempts  map[peers.AttemptKey]peers.Attempt
	pulses    map[peers.AttemptKey]pulse
	spare     map[peers.AttemptKey]pulse // empty, to be the next pulses
	doubts    map[peers.AttemptKey]peers.Doubt
	answering bool      // every peer is up
	hopeful   time.Time // when a peer last appeared or ceased to answer
	eager     time.Time // when a generation last appeared, whose first handshakes somebody may wait for
}

// A pulse is the sign of life of one peer on one interface.
type pulse struct {
	rx    uint64
	rxAt  time.Time // when rx was seen to grow
	since time.Time // when the peer was first seen on the interface
	asked time.Time // when it was last asked for a sign of life
	up    bool
}

// note takes over an observation.
func (h *health) note(s peers.State, p *peers.Plan, now time.Time) {
	next := h.spare
	if next == nil {
		next = make(map[peers.AttemptKey]pulse, len(h.pulses))
	}
	h.answering = true
	for _, in := range p.Interfaces {
		link, ok := s.LinkNamed(in.Name)
		if !ok {
			h.answering = false
			continue
		}
		for i := range link.Peers {
			peer := &link.Peers[i]
			at := peers.AttemptKey{Link: in.Name, Key: peer.Key}
			was, known := h.pulses[at]
			n := was.beat(peer, known, now)
			n.up = isUp(peer, n, p.Mesh.Keepalive, now)
			if !known || was.up && !n.up {
				h.hopeful = now
			}
			if !known && in.Generation == p.Newest() && p.Leaving() != 0 {
				h.eager = now
			}
			h.answering = h.answering && n.up
			next[at] = n
		}
	}
	clear(h.pulses)
	h.pulses, h.spare = next, h.pulses
}

func (p pulse) beat(peer *peers.LinkPeer, known bool, now time.Time) pulse {
	if !known {
		p.since = now
	}
	if !known || peer.Rx != p.rx {
		p.rx, p.rxAt = peer.Rx, now
	}
	return p
}

// isUp is the truth about a peer: it has a session, and it has been heard. Either it sends keepalives, or it answers
// when it is asked (nudge); silence for more than two intervals is enough to doubt.
func isUp(peer *peers.LinkPeer, p pulse, keepalive int, now time.Time) bool {
	if peer.LastHandshake.IsZero() || now.Sub(peer.LastHandshake) >= sessionLife {
		return false
	}
	silence := 2*time.Duration(keepalive)*time.Second + 10*time.Second
	return keepalive == 0 || now.Sub(p.rxAt) < silence || now.Sub(peer.LastHandshake) < silence
}

// state names what the pulse of a peer says.
func (p pulse) state(peer *peers.LinkPeer, now time.Time) string {
	switch {
	case p.up:
		return wire.PeerUp
	case peer.LastHandshake.IsZero() && now.Sub(p.since) < connectingFor:
		return wire.PeerConnecting
	}
	return wire.PeerDown
}

// mayAnswer reports whether it is too early to give up on a new peer.
func (p pulse) mayAnswer(peer *peers.Peer, now time.Time) bool {
	return !p.up && now.Sub(p.since) < time.Duration(max(1, len(peer.Endpoints)))*tryEach
}
