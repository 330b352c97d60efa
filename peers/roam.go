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
	roamDoubt    = roamStale         // for a peer whose last handshake is yet to come: the clock went back
	roamRounds   = 3
)

// Times after which the handshakes of a new generation are started. The other end has to have the key of
// this host by then: a first message that comes too early is lost, and the next one follows after 5 s.
// They are spread so that in a large mesh nobody has to answer all the others at once.
const (
	startAfter  = time.Second
	startSpread = 4 * time.Millisecond // for each peer
	startMost   = 4 * time.Second
)

// An end that is held up, by a busy machine perhaps, may not have the key when the first message comes. WireGuard
// itself repeats it after 5 s. On an interface without traffic nothing is lost by adding the peer anew, which sends
// another one at once.
const (
	startRetry = 1500 * time.Millisecond
	startAgain = 3 // times
)

// An Attempt remembers how a host tries to reach a peer that does not answer.
type Attempt struct {
	Since time.Time // when the present candidate was tried first
	Tried int       // candidates given up so far
	Again int       // times the handshake of a new generation was started once more
}

// An AttemptKey names a peer on an interface.
type AttemptKey struct {
	Link string
	Key  key.Public
}

// Roam gives the steps that try the next endpoint candidate of peers which do not answer, and the
// attempts to remember for the next call. A peer that answers is left alone, wherever the kernel finds it.
// One whose last handshake lies in the future has either had it before the clock went back, or is about
// to have a new one: it is believed for as long as a handshake holds.
func Roam(s State, p Plan, attempts map[AttemptKey]Attempt, now time.Time) ([]Step, map[AttemptKey]Attempt) {
	var steps []Step
	next := map[AttemptKey]Attempt{}
	for _, in := range p.Interfaces {
		link, ok := s.LinkNamed(in.Name)
		if !ok {
			continue
		}
		if p.Leaving() != 0 && in.Generation == p.Newest() && !announced(&in, p.Private[in.Generation].Public()) {
			continue // nobody can answer yet
		}
		tunnelled := p.tunnelled()
		have := make(map[key.Public]*LinkPeer, len(link.Peers))
		for i := range link.Peers {
			have[link.Peers[i].Key] = &link.Peers[i]
		}
		for i := range p.Peers {
			k, _ := p.Peers[i].Key(in.Generation)
			peer := have[k]
			if peer == nil || peer.Answers(now) && !peer.LastHandshake.After(now) {
				continue
			}
			at := AttemptKey{Link: in.Name, Key: k}
			r := roamer{want: &p.Peers[i], have: peer, in: in, candidates: p.Peers[i].candidates(s.IPv6, tunnelled)}
			r.start, r.starts = p.start(&in, r.want)
			was := attempts[at]
			if r.unheard(was, now) && !p.Moved.HasRouted(r.want.ID) {
				was.Again++
				next[at] = was
				steps = append(steps, again(in.Name, peer, p, "which has not answered yet")...)
				continue
			}
			step, attempt, move := r.next(was, now, p.Mesh.Keepalive)
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

// A roamer tries the candidates of one peer in turn.
type roamer struct {
	want       *Peer
	have       *LinkPeer
	in         Interface
	candidates []Endpoint
	starts     bool          // this end starts the handshake
	start      time.Duration // after which time
}

// start says whether this host is the end that starts the handshake with a peer on the interface of a new
// generation, and after which time.
func (p *Plan) start(in *Interface, want *Peer) (time.Duration, bool) {
	if p.Leaving() == 0 || in.Generation != p.Newest() || want.Joined > p.Self.Joined {
		return 0, false
	}
	spread := min(time.Duration(len(p.Peers))*startSpread, startMost)
	return startAfter + spreadOver(spread, in.Generation, p.Self.ID, want.ID), true
}

// patience is how long to wait for the present candidate.
func (r *roamer) patience(a Attempt, now time.Time) time.Duration {
	switch {
	case a.Tried == 0 && r.have.LastHandshake.After(now):
		return roamDoubt
	case a.Tried >= roamRounds*max(1, len(r.candidates)):
		return roamSlow
	}
	return roamPatience
}

// unheard reports whether the handshake of a new generation, which this end has started, is to be started once more.
func (r *roamer) unheard(a Attempt, now time.Time) bool {
	return r.starts && a.Tried == 0 && r.have.Keepalive != 0 && r.have.LastHandshake.IsZero() && !a.Since.IsZero() &&
		a.Again < startAgain && now.Sub(a.Since) >= time.Duration(a.Again+1)*startRetry
}

// at is the address of the candidate whose turn it is.
func (r *roamer) at(tried int) netip.AddrPort {
	return r.candidates[tried%len(r.candidates)].At(r.in.Generation)
}

func (r *roamer) next(a Attempt, now time.Time, keepalive int) (SetPeer, Attempt, bool) {
	if a.Since.IsZero() || now.Before(a.Since) {
		return SetPeer{}, Attempt{Since: now, Tried: a.Tried}, false
	}
	if r.starts && a.Tried == 0 && r.have.Keepalive == 0 && r.have.LastHandshake.IsZero() && now.Sub(a.Since) >= r.start {
		return SetPeer{Link: r.in.Name, Host: r.want.Name, Key: r.have.Key, Keepalive: &keepalive}, Attempt{Since: now}, true
	}
	if now.Sub(a.Since) < r.patience(a, now) {
		return SetPeer{}, a, false
	}
	a = Attempt{Since: now, Tried: a.Tried + 1}
	step := SetPeer{Link: r.in.Name, Host: r.want.Name, Key: r.have.Key}
	if n := len(r.candidates); n > 0 {
		if r.at(a.Tried) == r.have.Endpoint {
			a.Tried++ // it is being tried
		}
		step.Endpoint = r.at(a.Tried)
	}
	if step.Endpoint == r.have.Endpoint {
		step.Endpoint = netip.AddrPort{}
	}
	if r.have.Keepalive == 0 {
		step.Keepalive = &keepalive
	}
	return step, a, step.Endpoint.IsValid() || step.Keepalive != nil
}
