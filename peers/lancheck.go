package peers

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Times of asking the LAN of a gateway whether anybody is there.
const (
	// LANAskEvery is the time between questions to one address.
	LANAskEvery = 250 * time.Millisecond
	// LANSilentAfter is for how long an address must not have answered to count as silent. The kernel asks a neighbour
	// again after a second, so there are two questions in it, and half a second for the second answer.
	LANSilentAfter = 1500 * time.Millisecond
	// lanSilentRounds have to pass as well: an agent that was stopped has not listened.
	lanSilentRounds = 5
)

// MaxLANChecks is how many addresses of its LAN a gateway asks at most.
const MaxLANChecks = 4

// An Answer is what has become of the last question to an address of the LAN.
type Answer byte

// What may have become of it.
const (
	AnswerUnknown Answer = iota // it cannot be asked, which says nothing of the LAN
	AnswerNone                  // there was none yet
	AnswerHeard
)

// A Hearing is for how long an address of the LAN has been silent. The zero Hearing is one that answers.
type Hearing struct {
	Unknown bool      // it cannot be asked
	Since   time.Time // of the first question without an answer; zero where the last one has an answer
	Rounds  int       // since then
}

// After is the hearing after another question.
func (h Hearing) After(a Answer, now time.Time) Hearing {
	switch {
	case a == AnswerUnknown:
		return Hearing{Unknown: true}
	case a == AnswerHeard:
		return Hearing{}
	case h.Since.IsZero():
		return Hearing{Since: now, Rounds: 1}
	}
	return Hearing{Since: h.Since, Rounds: h.Rounds + 1}
}

// Silent reports whether the address is silent.
func (h Hearing) Silent(now time.Time) bool {
	return !h.Since.IsZero() && now.Sub(h.Since) >= LANSilentAfter && h.Rounds >= lanSilentRounds
}

// LANSilent reports whether a gateway's link to its LAN leads nowhere, although it has a carrier: of the addresses that
// can be asked there is at least one, and all of them are silent.
func LANSilent(all []Hearing, now time.Time) bool {
	silent := false
	for _, h := range all {
		switch {
		case h.Unknown:
		case !h.Silent(now):
			return false
		default:
			silent = true
		}
	}
	return silent
}

// silent reports whether the silence of its LAN is all that speaks against a gateway.
func (s *Observed) silent() bool {
	return s.Word.Silent && !s.Word.Cut && !s.Heard.IsZero() && s.Missed < MissedMost
}

// settled leaves silence out of account where it says nothing: where each gateway that could act has a silent LAN, it is
// rather the addresses that are gone, as at night. Then all goes on as if nobody had asked them.
func (e *Electorate) settled() *Electorate {
	silent := false
	for _, id := range e.Gateways {
		s := e.Seen[id]
		if s.Fit {
			return e
		}
		silent = silent || s.silent()
	}
	if !silent {
		return e
	}
	out := *e
	out.Seen = maps.Clone(e.Seen)
	for id, s := range out.Seen {
		if s.silent() {
			s.Word.LAN, s.Word.Silent, s.Fit = LegUp, false, true
			out.Seen[id] = s
		}
	}
	return &out
}

// checkLANCheck checks the addresses by which the gateways of a site find out whether their LAN is there: hosts of the
// LAN that are always on, and none that answers itself or may be off because of what is to be found out.
func (d *draft) checkLANCheck(site string, op SetSite) {
	if len(op.LANCheck) == 0 {
		return
	}
	none := fmt.Sprintf("warren site set %s --lan-check none", op.Name)
	if len(op.Gateways) == 0 {
		d.refuse("lan-check", site+"/lan_check", none, "nobody would ask: the site has no gateway")
	}
	if len(op.LANCheck) > MaxLANChecks {
		d.refuse("lan-check", site+"/lan_check", "name those that are always on",
			"%d addresses: at most %d are asked", len(op.LANCheck), MaxLANChecks)
		return
	}
	for i, a := range op.LANCheck {
		if why := d.unaskable(op, i); why != "" {
			d.refuse("lan-check", fmt.Sprintf("%s/lan_check/%d", site, i), "warren site show "+op.Name, "%v %s", a, why)
		}
	}
}

// unaskable says why an address is of no use to the check of a LAN; empty where it is.
func (d *draft) unaskable(op SetSite, i int) string {
	a := op.LANCheck[i]
	within := slices.IndexFunc(op.Prefixes, func(p SitePrefix) bool { return p.Prefix.IsValid() && p.Prefix.Contains(a) })
	if within < 0 {
		return "is in no network of the site, as the site itself has it"
	}
	r := RangeOf(op.Prefixes[within].Prefix)
	switch {
	case a.Is4() && r.First != r.Last && (r.First == a || r.Last == a):
		return fmt.Sprintf("is the first or the last address of %v, which no host can have", op.Prefixes[within].Prefix)
	case slices.Index(op.LANCheck, a) != i:
		return "is there twice"
	case a == op.Virtual || a == op.Virtual6:
		return "is a virtual address, which the gateways have themselves"
	}
	for _, name := range op.Gateways {
		h, ok := d.next.HostNamed(name)
		if ok && slices.ContainsFunc(h.Endpoints, func(e Endpoint) bool { return e.Address.Addr() == a }) {
			return fmt.Sprintf("is the address of gateway %q: when that is off, the others would take the LAN for cut", name)
		}
	}
	return ""
}

// tellLANCheck is the part of the words for a site.
func (op SetSite) tellLANCheck() string {
	if len(op.LANCheck) == 0 {
		return ""
	}
	asked := joined(op.LANCheck, netip.Addr.String)
	return "; gateways ask " + strings.ReplaceAll(asked, ", ", " and ") + " whether their LAN is there"
}
