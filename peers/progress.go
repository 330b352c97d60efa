package peers

import "slices"

// A Phase is what a rotation as a whole waits for.
type Phase string

// The phases of a rotation, in their order.
const (
	PhaseIdle     Phase = "idle"     // no rotation runs
	PhaseAnnounce Phase = "announce" // a host has no key of the next generation yet
	PhaseProve    Phase = "prove"    // a pair has not shaken hands on it
	PhaseSwitch   Phase = "switch"   // the traffic of a pair still takes the older one
	PhaseRetire   Phase = "retire"   // what is under way arrives, then the older one goes
)

// A Progress is how far a rotation is.
type Progress struct {
	Phase                            Phase
	Pairs, Proven, Switched, Retired int
	Settled                          bool // nothing is left to wait for
	Gone                             bool // nothing is left to wait for but hosts that have been away for too long
	Waiting                          []Wait
}

// A Wait is a host that others wait for, and why.
type Wait struct {
	Host   *Host
	Reason WaitReason
	For    []*Host // that it has no way to, or has not moved its traffic to
}

// A WaitReason is why a rotation waits for a host.
type WaitReason string

// The reasons to wait for a host.
const (
	WaitOffline WaitReason = "offline"   // it is not connected to the controller
	WaitKey     WaitReason = "no-key"    // it has not announced its key
	WaitAnswer  WaitReason = "no-answer" // it and another one do not reach each other on the next generation
	WaitTraffic WaitReason = "traffic"   // its traffic has not moved
	WaitHold    WaitReason = "no-hold"   // it has not said that it holds the newer generation, which is to be given up
)

// A Presence says whether a host is connected to the controller.
type Presence int

// The presences of a host.
const (
	Online Presence = iota
	Away
	Gone // for longer than anybody waits for it
)

// Progress adds up how far the rotation is in a mesh. Only hosts that are in the plans of others count:
// who is suspended, pending or revoked holds nobody up. Two hosts that the policy keeps apart are no pair.
func (r *Rotation) Progress(inv *Inventory, presence func(HostID) Presence) Progress {
	c := census{r: r}
	for _, h := range inv.SortedHosts() {
		if inv.planned(h) {
			c.hosts = append(c.hosts, h)
		}
	}
	c.waits, c.presence = make([]Wait, len(c.hosts)), make([]Presence, len(c.hosts))
	p := Progress{Phase: PhaseRetire, Settled: true, Gone: true}
	for i, h := range c.hosts {
		c.waits[i].Host, c.presence[i] = h, presence(h.ID)
		if h.Key(r.To).IsZero() {
			p.Phase, p.Settled, p.Gone = PhaseAnnounce, false, p.Gone && c.presence[i] == Gone
			c.blame(i, WaitKey, nil)
		}
	}
	roles := inv.Roles()
	own := make([]Role, len(c.hosts))
	for i, h := range c.hosts {
		own[i] = roles.Of(h)
		for j := range i {
			if own[i].Meets(own[j]) {
				c.pair(&p, i, j)
			}
		}
	}
	for _, w := range c.waits {
		if w.Reason != "" {
			p.Waiting = append(p.Waiting, w)
		}
	}
	return p
}

// A census goes through the pairs of a mesh.
type census struct {
	r        *Rotation
	hosts    []*Host
	presence []Presence
	waits    []Wait
}

// blame says that others wait for a host. That it is offline explains everything else.
func (c *census) blame(i int, why WaitReason, other *Host) {
	w := &c.waits[i]
	if c.presence[i] != Online {
		w.Reason, w.For = WaitOffline, nil
		return
	}
	switch {
	case w.Reason == "":
		w.Reason = why
	case w.Reason != why:
		return
	}
	if other != nil {
		w.For = append(w.For, other)
	}
}

// pair counts a pair, and says who holds it up.
func (c *census) pair(p *Progress, i, j int) {
	p.Pairs++
	a, b := c.sight(i, j), c.sight(j, i)
	switch {
	case a&wasSettled != 0:
		p.Proven, p.Switched = p.Proven+1, p.Switched+1
		if a&wasRetired != 0 {
			p.Retired++
		}
		return
	case a&resting != 0:
		p.Proven, p.Switched, p.Settled, p.Gone = p.Proven+1, p.Switched+1, false, false
		return
	}
	p.Settled, p.Gone = false, p.Gone && (c.presence[i] == Gone || c.presence[j] == Gone)
	proven := a&b&sawAnswer != 0
	if proven {
		p.Proven++
		p.Phase = earliest(p.Phase, PhaseSwitch)
	} else {
		p.Phase = earliest(p.Phase, PhaseProve)
	}
	c.holdUp(i, j, a, b)
}

// holdUp says which end of a pair is waited for.
func (c *census) holdUp(i, j int, a, b sight) {
	hosts := [2]int{i, j}
	said := [2]sight{a, b}
	for side, at := range hosts {
		otherAt := hosts[1-side]
		other := c.hosts[otherAt]
		switch {
		case c.hosts[at].Key(c.r.To).IsZero(): // said already
		case other.Key(c.r.To).IsZero(), c.presence[otherAt] != Online && c.presence[at] == Online:
			// it waits for the other one
		case said[side]&sawAnswer == 0:
			c.blame(at, WaitAnswer, other)
		case said[side]&sawRoute == 0:
			c.blame(at, WaitTraffic, other)
		}
	}
}

// sight is what one host has said of another.
func (c *census) sight(a, b int) sight {
	i, okA := c.r.index[c.hosts[a].ID]
	j, okB := c.r.index[c.hosts[b].ID]
	if !okA || !okB {
		return 0
	}
	return c.r.said[i][j]
}

func earliest(a, b Phase) Phase {
	order := []Phase{PhaseAnnounce, PhaseProve, PhaseSwitch, PhaseRetire}
	if slices.Index(order, b) < slices.Index(order, a) {
		return b
	}
	return a
}
