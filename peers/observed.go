package peers

import (
	"net/netip"
	"time"
)

// Times of watching gateways.
const (
	// MissedMost questions in a row without an answer mean that a gateway is lost.
	MissedMost = 3
	// HoldDown is how long a gateway must have been fit before traffic goes back to it, and how long traffic
	// stays where it is after it has moved, unless the gateway there is lost.
	HoldDown = 30 * time.Second
)

// A Leg is the state of the link by which a gateway reaches its LAN.
type Leg byte

// States of a leg.
const (
	LegUnknown Leg = iota
	LegUp
	LegDown
)

// String names the state.
func (l Leg) String() string {
	switch l {
	case LegUp:
		return "up"
	case LegDown:
		return "down"
	}
	return "unknown"
}

// A Word is what a gateway says of itself to who asks it through the tunnel.
type Word struct {
	Acting   HostID // by which gateway the site should be reached; "" while it does not know
	LAN      Leg
	Draining bool // it is to be left by everybody
	Cut      bool // it hears of no host of another site
	Silent   bool // nobody in its LAN answers, though the link to it is up: see LANSilent. Its leg counts as down
	Home     bool // it takes what the LAN sends: it acts in its own eyes
	Used     bool // a host of another site says that it sends to it
	Doubles  bool // it sends what comes from the LAN to another gateway, too
	Near     netip.Addr
	Near6    netip.Addr // its addresses on the LAN; invalid for none
}

// An Observed is what a host has observed of a gateway. The zero Observed is one of which nothing is known.
type Observed struct {
	Word   Word
	Heard  time.Time // last; zero for never
	Missed int       // questions in a row without an answer
	Mute   bool      // the machine answers and its agent does not run
	Fit    bool      // it can act
	Since  time.Time // since when it is fit, or has ceased to be
}

// Answered is the observation after an answer.
func (s Observed) Answered(w Word, now time.Time) Observed {
	s.Word, s.Heard, s.Missed, s.Mute = w, now, 0, false
	return s.judged(now)
}

// Refused is the observation after the gateway's kernel has said that no agent runs there. It still forwards, as it
// did before: an agent that is started anew must not move anything.
func (s Observed) Refused(now time.Time) Observed {
	s.Heard, s.Missed, s.Mute = now, 0, true
	return s.judged(now)
}

// Silent is the observation after a question to which no answer came.
func (s Observed) Silent(now time.Time) Observed {
	s.Missed++
	return s.judged(now)
}

func (s Observed) judged(now time.Time) Observed {
	fit := !s.Heard.IsZero() && s.Missed < MissedMost && s.Word.LAN != LegDown && !s.Word.Cut
	if fit != s.Fit || s.Since.IsZero() {
		s.Fit, s.Since = fit, now
	}
	return s
}

// known reports whether it was asked often enough to say something of it.
func (s *Observed) known() bool { return !s.Heard.IsZero() || s.Missed >= MissedMost }

// lost reports whether traffic must not stay with it.
func (s *Observed) lost() bool { return s.known() && !s.Fit }

// steady reports whether it has been fit for so long that traffic may go back to it.
func (s *Observed) steady(now time.Time) bool { return s.Fit && now.Sub(s.Since) >= HoldDown }

// Why says for people why a gateway does not act; empty where nothing speaks against it.
func (s *Observed) Why() string {
	switch {
	case s.Missed >= MissedMost:
		return "does not answer"
	case s.Heard.IsZero():
		return "has not answered yet"
	case s.Word.Silent:
		return "hears of nobody in its LAN"
	case s.Word.LAN == LegDown:
		return "its link to the LAN is down"
	case s.Word.Cut:
		return "reaches no host of another site"
	case s.Word.Draining:
		return "is being drained"
	}
	return ""
}
