package peers

import (
	"slices"
	"time"
)

// Times of Cure.
const (
	cureKnocks = 10 * time.Second // of vain handshakes: three, at one every 5 s
	cureSpare  = 10 * time.Second // on top of a keepalive interval, before a silent peer is taken for dead
)

// A Doubt remembers of a peer since when nothing has come from it, and since when it asks for a handshake
// in vain.
type Doubt struct {
	rx        uint64
	handshake time.Time
	silent    time.Time // since when
	knocks    time.Time // since when; zero while it does not ask
	cured     bool      // and has shaken no hands since
}

// Cure gives the steps that make this host forget a peer's clock, and the doubts to remember for the next
// call. The first message of a WireGuard handshake carries a time that must be later than that of the
// message before it; a peer whose clock went back, as after a restart with an empty battery, is refused until
// its clock has caught up. A peer that is removed and added again has no time yet.
//
// That a message was refused shows nowhere in WireGuard, in the kernel as in wireguard-go: bytes are counted
// once it was accepted. So State.Knocks, which the guard collects, are the evidence: an address from which
// the first message of a handshake came in the last moments. A peer is cured if it knocks, has not got in,
// and has sent nothing else for longer than a healthy peer ever is silent; so that who repeats recorded
// messages from its address cannot harm a session that works. A peer whose first message was accepted, and whose clock
// went back before the handshake was done, has no session to be silent in: it knocks in vain as long as that. Who was cured
// is not cured again until there has been another handshake.
//
// Without the evidence, where there is no nftables, such a pair finds itself when this host's session has
// ended, after 3 minutes: then this host asks for a handshake, whose answer carries no time.
func Cure(s State, p Plan, doubts map[AttemptKey]Doubt, now time.Time) ([]Step, map[AttemptKey]Doubt) {
	var steps []Step
	next := make(map[AttemptKey]Doubt, len(doubts))
	for i := range s.Links {
		link := &s.Links[i]
		for j := range link.Peers {
			peer := &link.Peers[j]
			at := AttemptKey{Link: link.Name, Key: peer.Key}
			was, known := doubts[at]
			is := was.look(peer, known, slices.Contains(s.Knocks, peer.Endpoint.Addr()), now)
			if is.refused(p.Mesh.Keepalive, now) {
				steps = append(steps, again(link.Name, peer, p, "whose clock went back")...)
				is.knocks, is.cured = time.Time{}, true
			}
			next[at] = is
		}
	}
	return steps, next
}

func (d Doubt) look(peer *LinkPeer, known, knocks bool, now time.Time) Doubt {
	if !known || peer.Rx != d.rx || !peer.LastHandshake.Equal(d.handshake) {
		return Doubt{rx: peer.Rx, handshake: peer.LastHandshake, silent: now, cured: d.cured && peer.LastHandshake.IsZero()}
	}
	switch {
	case !knocks:
		d.knocks = time.Time{}
	case d.knocks.IsZero():
		d.knocks = now
	}
	return d
}

func (d Doubt) refused(keepalive int, now time.Time) bool {
	if d.cured || d.knocks.IsZero() || d.handshake.IsZero() && d.rx == 0 {
		return false // nothing is known, or nothing of it that could be forgotten
	}
	silence := time.Duration(keepalive)*time.Second + cureSpare
	switch {
	case d.handshake.IsZero():
		silence = cureKnocks
	case keepalive == 0:
		silence = roamStale
	}
	return now.Sub(d.knocks) >= cureKnocks && now.Sub(d.silent) >= silence
}

// again removes a peer and adds it with all that it has, for a reason.
func again(link string, peer *LinkPeer, p Plan, why string) []Step {
	keepalive := peer.Keepalive
	add := SetPeer{
		Link: link, Host: "one " + why, Key: peer.Key, New: true, Endpoint: peer.Endpoint,
		Keepalive: &keepalive, Allowed: slices.Clone(peer.Allowed),
	}
	if !peer.PSK.IsZero() {
		psk := peer.PSK
		add.PSK = &psk
	}
	for i := range p.Peers {
		if slices.ContainsFunc(p.Peers[i].Keys, func(k HostKey) bool { return k.Public == peer.Key }) {
			add.Host = p.Peers[i].Name + ", " + why
		}
	}
	return []Step{DelPeer{Link: link, Key: peer.Key}, add}
}
