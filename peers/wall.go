package peers

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
)

// Names of counters in the guard.
const (
	CounterOpened  = "opened"  // connections from the mesh, while there is no policy
	CounterRefused = "refused" // packets that no flow allows
	CounterLeaked  = "leaked"  // packets for the mesh that would have left outside of a tunnel
	CounterSpoofed = "spoofed" // packets that claim to come from the mesh and did not come by a tunnel
	CounterStrayed = "strayed" // packets from the mesh for what is not in it
)

// ProbePort is the UDP port on which agents ask each other through the tunnel (warren ping). No policy locks
// them out.
const ProbePort = 51829

// GuardOptions are what a host's operator says of its guard, and what the host has.
type GuardOptions struct {
	Off       bool           // no rule at all
	NoLeak    bool           // nothing is kept in tunnels
	Connected []netip.Prefix // networks of the host's own that a mesh never takes away
	Doubled   bool           // packets are sent a second time
}

// A Wall is the part of a guard that lets packets pass or not.
type Wall struct {
	Policy *Filter      // nil: everything is let in
	Inside []Range      // what is reached through tunnels only; empty: nothing is kept in
	Ports  []uint16     // UDP, of WireGuard itself
	Own    []netip.Addr // of this host in the mesh
	Flows  []Passage
	NAT    []Translation `json:",omitempty"` // between the host's site and the mesh
	// Behind is what packets from the mesh are forwarded to, as the host itself knows it, while there is no policy.
	Behind []Range `json:",omitempty"`
	// Doubled lets the second copies of packets from the host's LAN go back there (Doubling).
	Doubled bool `json:",omitempty"`

	sum string // see digest
}

// A Counter counts packets.
type Counter struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// A Passage is a flow of the policy that ends at this host, as its counter knows it.
type Passage struct {
	Flow    int    // its number in the policy
	Counter string // the same for as long as the flow says the same
}

// CompileGuard makes the guard of a host with this plan. It takes milliseconds where a policy is large, so keep
// it with the plan (Guarded).
func (p *Plan) CompileGuard(o GuardOptions) Guard {
	if len(p.Interfaces) == 0 || o.Off {
		return Guard{}
	}
	in := &p.Interfaces[0]
	base := in.Port - uint16(in.Generation.Slot())
	w := &Wall{
		Policy: p.Filter(), Ports: []uint16{base, base + 1}, Own: []netip.Addr{p.Self.Address, p.Self.Address6}, Doubled: o.Doubled,
	}
	w.NAT = p.translations()
	if w.Policy == nil {
		w.Behind = p.behindSelf()
	}
	if !o.NoLeak {
		inside := []netip.Prefix{p.Mesh.Overlay, p.Mesh.Overlay6}
		if p.Gate != nil {
			inside = append(inside, p.Gate.Remote...)
		}
		inside = append(inside, p.aliases()...)
		w.Inside = protected(inside, o.Connected)
	}
	if w.Policy != nil {
		for i := range p.Gate.Rules {
			w.Flows = append(w.Flows, p.Gate.Rules[i].passage())
		}
	}
	w.sum = w.digest()
	return Guard{Clamp: true, Knocks: [2]uint16(w.Ports), Wall: w}
}

// behindSelf are the networks for which the host forwards.
func (p *Plan) behindSelf() []Range {
	var out []netip.Prefix
	for _, n := range p.Forwards() {
		out = append(out, n.Prefix)
	}
	return protected(out, nil)
}

// digest tells walls apart; empty for none. It takes long where there is much in one, so it is kept.
func (w *Wall) digest() string {
	switch {
	case w == nil:
		return ""
	case w.sum != "":
		return w.sum
	}
	sum := sha256.Sum256([]byte(Guard{Wall: w}.text("")))
	return hex.EncodeToString(sum[:])
}

// passage names the counter of a rule by what the rule says, not by its number: flows before it come and go.
func (r *GateRule) passage() Passage {
	sum := sha256.Sum256(fmt.Appendf(nil, "%v %v %v", r.From, r.To, r.Allow))
	return Passage{Flow: r.Flow, Counter: "flow-" + hex.EncodeToString(sum[:6])}
}

// Counter is the counter of a flow.
func (w *Wall) Counter(flow int) string {
	i, ok := slices.BinarySearchFunc(w.Flows, flow, func(p Passage, n int) int { return p.Flow - n })
	if !ok {
		return CounterRefused
	}
	return w.Flows[i].Counter
}

// Counters are the names of all counters, each once: flows that say the same share one.
func (w *Wall) Counters() []string {
	var out []string
	if len(w.Inside) > 0 {
		out = append(out, CounterLeaked, CounterSpoofed)
	}
	if w.Policy == nil {
		return append(out, CounterOpened, CounterStrayed)
	}
	out = append(out, CounterRefused)
	known := map[string]bool{}
	for _, f := range w.Flows {
		if !known[f.Counter] {
			known[f.Counter] = true
			out = append(out, f.Counter)
		}
	}
	return out
}

// WithoutLeak is the guard with nothing kept in tunnels.
func (g Guard) WithoutLeak() Guard {
	if g.Wall == nil {
		return g
	}
	w := *g.Wall
	w.Inside = nil
	w.sum = ""
	g.Wall = &w
	return g
}

// MayLoad reports whether a guard that was read from somewhere can be made into rules.
func (g Guard) MayLoad() bool {
	w := g.Wall
	if w == nil {
		return true
	}
	if len(w.Ports) != 2 || len(w.Own) != 2 || slices.ContainsFunc(w.NAT, Translation.odd) {
		return false
	}
	return w.Policy == nil || w.Policy.sound(w)
}

// sound reports whether all that is named is there: what a flow without a counter of its own lets in would be counted as
// refused.
func (f *Filter) sound(w *Wall) bool {
	for i := range f.Targets {
		for _, s := range f.Targets[i].Sources {
			if s.Class < 0 || s.Class >= len(f.Classes) {
				return false
			}
		}
	}
	for i := range f.Classes {
		c := &f.Classes[i]
		for _, r := range slices.Concat(c.TCP, c.UDP) {
			if w.Counter(r.Flow) == CounterRefused {
				return false
			}
		}
		if c.Any != 0 && w.Counter(c.Any) == CounterRefused || c.ICMP != 0 && w.Counter(c.ICMP) == CounterRefused {
			return false
		}
	}
	return true
}
