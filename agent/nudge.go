package agent

import (
	"time"

	"github.com/warren-mesh/warren/peers"
)

// Times of asking peers that are silent. Three questions fit in before the silence says something (isUp).
const (
	nudgeSpare = 5 * time.Second // on top of a keepalive interval
	nudgeEvery = 10 * time.Second
)

// nudge asks peers of which nothing was heard for a while for a sign of life. Silence alone says nothing: WireGuard's
// keepalive timer begins anew with every packet, those that come in included, so of two ends that have a keepalive only
// the one whose timer is ahead sends, again and again, and hears nothing back until the next handshake. The answer to a
// question is something that comes in; nobody waits for it.
func (l *loop) nudge(want *peers.Plan, now time.Time) {
	keepalive := time.Duration(want.Mesh.Keepalive) * time.Second
	if keepalive == 0 {
		return
	}
	at := l.places()
	for i := range want.Peers {
		p := &want.Peers[i]
		here := at[p.ID]
		if !here.routed || now.Sub(here.peer.LastHandshake) >= sessionLife {
			continue // a handshake comes first
		}
		k := peers.AttemptKey{Link: here.in.Name, Key: here.peer.Key}
		is := l.health.pulses[k]
		if now.Sub(is.rxAt) < keepalive+nudgeSpare || now.Sub(is.asked) < nudgeEvery {
			continue
		}
		if to, _ := overlayAddresses(p); to.IsValid() {
			l.Prober.Nudge(to)
			is.asked = now
			l.health.pulses[k] = is
		}
	}
}
