package agent

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	healWord      = time.Minute // between two lines in the log about one kind
	contestWindow = time.Minute
	contestMany   = 10 // turns of one window that restore a kind: somebody does it again and again
)

// healing is what the agent has put back because somebody else had changed it.
type healing struct {
	good  *peers.State // what the kernel had after the last turn
	kinds map[string]*healed
}

// healed is all that was put back of one kind. It is bounded: only the last thing is known by its name.
type healed struct {
	wire.Restoration
	logged time.Time // when a line was written last
	window time.Time // when the present window began
	within int       // turns in it that restored something
	fought time.Time // when a window last had too many
}

// note counts what was undone and gives the kinds that are worth a line in the log.
func (h *healing) note(undone []peers.Undoing, now time.Time) (tell []wire.Restoration) {
	if h.kinds == nil {
		h.kinds = map[string]*healed{}
	}
	touched := map[string]bool{}
	for _, u := range undone {
		k := h.kinds[u.Kind]
		if k == nil {
			k = &healed{Restoration: wire.Restoration{Kind: u.Kind}}
			h.kinds[u.Kind] = k
		}
		k.Count++
		k.What, k.Last = u.What, now.UTC()
		touched[u.Kind] = true
	}
	for _, kind := range slices.Sorted(maps.Keys(touched)) {
		if k := h.kinds[kind]; k.turn(now) {
			tell = append(tell, k.Restoration)
		}
	}
	return tell
}

// turn notes that something of the kind was undone once more, and reports whether that is worth a line in the log.
func (k *healed) turn(now time.Time) (tell bool) {
	if now.Sub(k.window) >= contestWindow {
		k.window, k.within = now, 0
	}
	if k.within++; k.within >= contestMany {
		k.fought = now
	}
	if now.Sub(k.logged) < healWord {
		return false
	}
	k.logged = now
	return true
}

// list are the restorations by kind; nil where there was none.
func (h *healing) list() (out []wire.Restoration) {
	for _, name := range slices.Sorted(maps.Keys(h.kinds)) {
		out = append(out, h.kinds[name].Restoration)
	}
	return out
}

// contests are the problems of a host on which somebody does not let go.
func (h *healing) contests(now time.Time) (out []peers.Problem) {
	for _, name := range slices.Sorted(maps.Keys(h.kinds)) {
		k := h.kinds[name]
		if k.fought.IsZero() || now.Sub(k.fought) >= contestWindow {
			continue
		}
		out = append(out, peers.Problem{
			Code: codeContested, At: "host/" + k.Kind,
			Message: fmt.Sprintf("something on this host changes what is Warren's again and again (%s, %d times so far)",
				k.Kind, k.Count),
			Hint: "see who it is: ip monitor all; tools that manage the network must leave wrn0, wrn1 and protocol 119 alone",
		})
	}
	return out
}

// heal notes which of the steps that the host lacks put back what somebody else has changed.
func (l *loop) heal(want peers.Plan, missing []peers.Step, now time.Time) {
	if l.healing.good != nil && len(missing) > 0 {
		for _, r := range l.healing.note(peers.Undone(*l.healing.good, l.seen.state, want, missing), now) {
			l.Log.Warn("restoring what somebody else has changed", "kind", r.Kind, "what", r.What, "times", r.Count)
		}
	}
	l.trouble.set(fromContests, l.healing.contests(now)...)
}
