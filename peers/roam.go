package peers

import (
	"net/netip"
	"time"

	"github.com/warren-mesh/warren/peers/key"
)

// Times of Roam. The session of a WireGuard peer with a keepalive is renewed after 120 s and dies after
// 180 s, and a handshake is repeated every 5 s (WireGuard paper §6.1: REKEY_AFTER_TIME,
// REJECT_AFTER_TIME, REKEY_TIMEOUT).
const (
	roamStale    = 150 * time.Second // a handshake older than this: the peer does not answer
	roamPatience = 6 * time.Second   // for one candidate: a handshake and its first repetition
	roamSlow     = 30 * time.Second  // for one candidate once all were tried roamRounds times
	roamRounds   = 3
)

// An Attempt remembers how a host tries to reach a peer that does not answer.
type Attempt struct {
	Since time.Time // when the present candidate was tried first
	Tried int       // candidates given up so far
}

// An AttemptKey names a peer on an interface.
type AttemptKey struct {
	Link string
	Key  key.Public
}

// Roam gives the steps that try the next endpoint candidate of peers which do not answer, and the
// attempts to remember for the next call. A peer that answers is left alone, wherever the kernel finds it.
func Roam(s State, p Plan, attempts map[AttemptKey]Attempt, now time.Time) ([]Step, map[AttemptKey]Attempt) {
	var steps []Step
	next := map[AttemptKey]Attempt{}
	for _, in := range p.Interfaces {
		link, ok := s.LinkNamed(in.Name)
		if !ok {
			continue
		}
		have := make(map[key.Public]*LinkPeer, len(link.Peers))
		for i := range link.Peers {
			have[link.Peers[i].Key] = &link.Peers[i]
		}
		for i := range p.Peers {
			k, _ := p.Peers[i].Key(in.Generation)
			peer := have[k]
			if peer == nil || peer.Answers(now) {
				continue
			}
			at := AttemptKey{Link: in.Name, Key: k}
			step, attempt, move := roamPeer(&p.Peers[i], peer, in, attempts[at], now, p.Mesh.Keepalive)
			next[at] = attempt
			if move {
				steps = append(steps, step)
			}
		}
	}
	return steps, next
}

// Answers reports whether the peer has a session that lives at a time. A handshake in the future, after
// the clock went back, counts as one.
func (p *LinkPeer) Answers(now time.Time) bool {
	return !p.LastHandshake.IsZero() && now.Sub(p.LastHandshake) < roamStale
}

func roamPeer(want *Peer, have *LinkPeer, in Interface, a Attempt, now time.Time, keepalive int) (SetPeer, Attempt, bool) {
	if a.Since.IsZero() || now.Before(a.Since) {
		return SetPeer{}, Attempt{Since: now, Tried: a.Tried}, false
	}
	patience := roamPatience
	if a.Tried >= roamRounds*max(1, len(want.Endpoints)) {
		patience = roamSlow
	}
	if now.Sub(a.Since) < patience {
		return SetPeer{}, a, false
	}
	a = Attempt{Since: now, Tried: a.Tried + 1}
	step := SetPeer{Link: in.Name, Host: want.Name}
	step.Key, _ = want.Key(in.Generation)
	if n := len(want.Endpoints); n > 0 {
		step.Endpoint = want.Endpoints[a.Tried%n].At(in.Generation)
	}
	if step.Endpoint == have.Endpoint {
		step.Endpoint = netip.AddrPort{}
	}
	if have.Keepalive == 0 {
		step.Keepalive = &keepalive
	}
	return step, a, step.Endpoint.IsValid() || step.Keepalive != nil
}
