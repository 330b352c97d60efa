package peers

import (
	"slices"
	"time"
)

// An Electorate is what one host knows of the gateways of one site.
type Electorate struct {
	// Self is the host where it is one of the gateways; Seen has it, too. "" for any other host.
	Self     HostID
	Gateways []HostID // in order of priority
	Seen     map[HostID]Observed
	// Moved says that no host of another site sends to Self any more, after Self has told them to send to Choice.To.
	Moved bool
}

// StaleAfter is when what a gateway has said before a handover has been replaced by what it says after it.
const StaleAfter = 2 * time.Second

// A Choice is the gateway by which a host reaches a site, or, for a gateway of the site itself, the one that
// takes what the LAN sends.
type Choice struct {
	Gateway HostID    // "" before the first
	At      time.Time // when it came to be that one; zero for the first
	// To is the gateway to which the host itself, as the acting one, is handing over; "" for none.
	To HostID
}

// Elect gives the choice that follows on another one.
//
// A gateway that is lost is left at once, for the best that is fit: one that has been fit for a while before one
// that has just come back, then by priority. One that is being drained counts only where there is no other. While
// nobody is fit, nothing moves. That nobody in its LAN answers counts against a gateway only where another one hears of
// somebody.
//
// From a gateway that is not lost, traffic moves only at that gateway's own word, so that all hosts and the
// site's LAN move in step: when it is drained, or when one of higher priority has been fit for HoldDown and the
// last move was as long ago. So gateways that come and go move traffic once in HoldDown at most, as long as there
// is one that stays.
func (e *Electorate) Elect(was Choice, now time.Time) Choice {
	return e.settled().elect(was, now)
}

func (e *Electorate) elect(was Choice, now time.Time) Choice {
	if was.Gateway == "" || !slices.Contains(e.Gateways, was.Gateway) {
		return Choice{Gateway: e.first(now)}
	}
	present := e.Seen[was.Gateway]
	if present.lost() {
		if id := e.best(was.Gateway, now); id != "" && (!present.silent() || !e.wakes(id, now)) {
			return Choice{Gateway: id, At: now}
		}
		return Choice{Gateway: was.Gateway, At: was.At}
	}
	if was.Gateway == e.Self {
		return e.handOver(was, now)
	}
	if to := present.Word.Acting; e.follows(was, to, now) {
		return Choice{Gateway: to, At: now}
	}
	return was
}

// wakes reports whether a gateway has been fit for a moment only. When an address that all gateways ask is there again,
// they do not hear of it at the same time.
func (e *Electorate) wakes(id HostID, now time.Time) bool {
	return now.Sub(e.Seen[id].Since) < StaleAfter
}

// first is the choice of who has none: the gateway that acts already, or else the best. It waits until something
// is known of each of higher priority.
func (e *Electorate) first(now time.Time) HostID {
	for _, id := range e.Gateways {
		if s := e.Seen[id]; s.Fit && s.Word.Home && id != e.Self {
			return id
		}
	}
	best := e.best("", now)
	for _, id := range e.Gateways {
		if s := e.Seen[id]; !s.known() && (e.Self != "" || id != best) {
			return ""
		}
		if id == best && e.Self == "" {
			break
		}
	}
	return best
}

// best is the best gateway but one; "" where none is fit.
func (e *Electorate) best(but HostID, now time.Time) HostID {
	var found HostID
	rank := 0
	for _, id := range e.Gateways {
		s := e.Seen[id]
		if is := s.rank(now); id != but && is > rank {
			found, rank = id, is
		}
	}
	return found
}

// rank is greater for those that are to be preferred, and 0 for those that are not fit.
func (s *Observed) rank(now time.Time) int {
	switch {
	case !s.Fit:
		return 0
	case s.Word.Draining:
		return 1
	case !s.steady(now):
		return 2
	}
	return 3
}

// follows reports whether traffic moves at the word of the present gateway.
func (e *Electorate) follows(was Choice, to HostID, now time.Time) bool {
	present, next := e.Seen[was.Gateway], e.Seen[to]
	switch {
	case to == "" || to == was.Gateway || !slices.Contains(e.Gateways, to) || !next.Fit:
		return false
	case to == e.Self:
		// The LAN's packets come here when they go there no more. What is known of that gateway may be of before it
		// was handed over to.
		return !present.Word.Home && !next.Word.Draining && now.Sub(was.At) >= StaleAfter
	case present.Word.Draining:
		return !next.Word.Draining
	}
	return next.steady(now) && now.Sub(was.At) >= HoldDown
}

// handOver is the choice of the acting gateway itself.
func (e *Electorate) handOver(was Choice, now time.Time) Choice {
	if other := e.rival(); other != "" {
		return Choice{Gateway: other, At: now}
	}
	to := e.successor(was, now)
	switch {
	case to == "":
		return Choice{Gateway: was.Gateway, At: was.At}
	case to == was.To && e.Moved:
		return Choice{Gateway: to, At: now}
	}
	return Choice{Gateway: was.Gateway, At: was.At, To: to}
}

// successor is the gateway to which the acting one should hand over; "" for none.
func (e *Electorate) successor(was Choice, now time.Time) HostID {
	self := e.Seen[e.Self]
	best := e.best(e.Self, now)
	if best == "" || e.Seen[best].Word.Draining || e.Seen[best].Word.Doubles {
		return "" // two that send to each other what comes from the LAN would never end
	}
	if self.Word.Draining {
		return best
	}
	next := e.Seen[best]
	before := slices.Index(e.Gateways, best) < slices.Index(e.Gateways, e.Self)
	handing := was.To == best && next.Fit
	if before && (handing || next.steady(now) && now.Sub(was.At) >= HoldDown) {
		return best
	}
	return ""
}

// rival is another gateway that holds itself to be the acting one, as after a time in which the two did not hear of
// each other, and to which this one must give way: who is used stays, and among equals who has priority.
func (e *Electorate) rival() HostID {
	self := e.Seen[e.Self]
	for _, id := range e.Gateways {
		s := e.Seen[id]
		if id == e.Self || !s.Fit || !s.Word.Home || s.Mute {
			continue
		}
		before := slices.Index(e.Gateways, id) < slices.Index(e.Gateways, e.Self)
		if s.Word.Used && !self.Word.Used || s.Word.Used == self.Word.Used && before {
			return id
		}
	}
	return ""
}

// Says is whom a gateway tells others to use: itself or to whom it hands over where it acts; else what the acting
// one says. What one says that does not act yet is hearsay: two gateways, each of which followed the other, would give
// each other's former word back for ever.
func (e *Electorate) Says(c Choice) HostID {
	e = e.settled()
	switch {
	case c.To != "":
		return c.To
	case c.Gateway == e.Self || c.Gateway == "":
		return c.Gateway
	}
	s := e.Seen[c.Gateway]
	if next := e.Seen[s.Word.Acting]; s.Word.Home && s.Fit && next.Fit && slices.Contains(e.Gateways, s.Word.Acting) {
		return s.Word.Acting
	}
	return c.Gateway
}
