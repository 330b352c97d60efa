package peers

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Pending is a change that is taken back unless somebody confirms it in time. There is one at most.
type Pending struct {
	Revision Revision  `json:"revision"` // of the change
	By       string    `json:"by"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
	// Objects are those that it touched, as they were before.
	Objects []ObjectChange `json:"objects"`
}

// Touches reports whether the pending change is about an object. All sites are one: a prefix that is to be
// given back must not have gone to another site meanwhile.
func (p *Pending) Touches(key string) bool {
	return slices.ContainsFunc(p.Objects, func(o ObjectChange) bool {
		return o.Key == key || strings.HasPrefix(key, "site/") && strings.HasPrefix(o.Key, "site/")
	})
}

// ConfirmApply lets a pending change stay.
type ConfirmApply struct {
	Revision Revision `json:"revision"`
}

// TakeBack undoes a pending change: what it touched is as before.
type TakeBack struct {
	Revision Revision `json:"revision"`
}

// Kind is "apply.confirm".
func (ConfirmApply) Kind() string { return "apply.confirm" }

// Kind is "apply.back".
func (TakeBack) Kind() string { return "apply.back" }

// ByController is who makes the changes that the controller makes of itself.
const ByController = "controller"

const pendingHint = "warren apply --confirm, or --revert"

// await makes the change of the draft one that is taken back.
func (d *draft) await(within time.Duration) {
	if within < minWithin || within > maxWithin {
		d.refuse("within-invalid", "pending", "", "%v is no time to confirm in: want %v to %v", within, minWithin, maxWithin)
		return
	}
	if d.prev.Pending != nil {
		d.refuse("pending", "pending", pendingHint,
			"the change of revision %d waits to be confirmed: one at a time", d.prev.Pending.Revision)
		return
	}
	p := Pending{
		Revision: d.prev.Revision + 1, By: d.change.By, Since: d.change.At, Until: d.change.At.Add(within),
	}
	for _, o := range d.objects() {
		p.Objects = append(p.Objects, ObjectChange{Key: o.Key, Before: o.Before})
	}
	d.putPending(p)
}

// checkPending keeps other changes away from what a pending one has touched. What hosts say of themselves, and
// what an admin says of them but their labels, is not among it.
func (d *draft) checkPending() {
	p := d.prev.Pending
	switch d.change.Op.(type) {
	case ConfirmApply, TakeBack, RemoveHost:
		return
	}
	if p == nil {
		return
	}
	for _, o := range d.objects() {
		if p.Touches(o.Key) && d.declares(o) {
			d.refuse("pending", o.Key, pendingHint,
				"the change of revision %d, by %s, is to be confirmed until %s: until then nobody else changes %s",
				p.Revision, p.By, p.Until.UTC().Format(time.RFC3339), Entry{}.named(o))
		}
	}
}

// declares reports whether a change of an object is about what a pending change would give back.
func (d *draft) declares(o ObjectChange) bool {
	kind, id, _ := strings.Cut(o.Key, "/")
	switch kind {
	case "mesh":
		a, b := d.prev.settings(), d.next.settings()
		return *a.MTU != *b.MTU || *a.Keepalive != *b.Keepalive || *a.Grace != *b.Grace ||
			!d.prev.Mesh.Schedule.equal(d.next.Mesh.Schedule)
	case "host":
		a, b := d.prev.Hosts[HostID(id)], d.next.Hosts[HostID(id)]
		return a != nil && b != nil && a.tellLabels() != b.tellLabels()
	case "site":
		_, token := d.change.Op.(CreateToken) // makes a site without networks
		return !token
	}
	return kind == "policy"
}

func (d *draft) pending(rev Revision) *Pending {
	p := d.next.Pending
	if p == nil || p.Revision != rev {
		d.refuse("pending-none", "pending", "warren audit log", "no change of revision %d waits to be confirmed", rev)
		return nil
	}
	return p
}

func (op ConfirmApply) apply(d *draft) {
	if p := d.pending(op.Revision); p != nil {
		if !d.change.At.Before(p.Until) {
			d.refuse("pending-late", "pending", "warren audit log", "the time to confirm it was over at %s",
				p.Until.UTC().Format(time.RFC3339))
		}
		d.dropPending()
	}
}

// apply gives back without asking rules: what was there before was right, and what it may miss by now is left
// out. A net that may refuse to catch is none.
func (op TakeBack) apply(d *draft) {
	p := d.pending(op.Revision)
	if p == nil {
		return
	}
	old := &Inventory{}
	was := newDraft(old, Change{})
	for _, o := range p.Objects {
		if o.Before != nil {
			if err := was.load(o.Key, o.Before); err != nil {
				d.refuse("pending-damaged", o.Key, "", "it cannot be given back: %v", err)
				return
			}
		}
	}
	old = was.next
	for _, o := range p.Objects {
		d.giveBack(old, o.Key)
	}
	d.dropPending()
}

func (d *draft) giveBack(old *Inventory, key string) {
	kind, id, _ := strings.Cut(key, "/")
	switch kind {
	case "mesh":
		m := d.next.Mesh
		m.MTU, m.Keepalive, m.Grace, m.Schedule = old.Mesh.MTU, old.Mesh.Keepalive, old.Mesh.Grace, old.Mesh.Schedule
		d.putMesh(m)
	case "policy":
		if old.Policy == nil {
			d.dropPolicy()
		} else {
			d.putPolicy(*old.Policy)
		}
	case "host":
		was, is := old.Hosts[HostID(id)], d.next.Hosts[HostID(id)]
		if was != nil && is != nil {
			h := *is
			h.Labels = was.Labels
			d.putHost(h)
		}
	case "site":
		d.giveBackSite(old.Sites[id], id)
	}
}

// giveBackSite leaves gateways out that are gone, and keeps a new site that has found hosts, without networks.
func (d *draft) giveBackSite(was *Site, name string) {
	switch {
	case was != nil:
		s := *was
		s.Gateways = slices.DeleteFunc(slices.Clone(s.Gateways), func(name string) bool {
			h, ok := d.next.HostNamed(name)
			return !ok || h.Site != s.Name
		})
		d.putSite(s)
	case d.siteUsed(name):
		d.putSite(Site{Name: name})
	default:
		d.dropSite(name)
	}
}

func (d *draft) siteUsed(name string) bool {
	for _, h := range d.next.Hosts {
		if h.Site == name {
			return true
		}
	}
	for _, t := range d.next.Tokens {
		if t.Site == name && t.Valid(t.Name, d.change.At) == nil {
			return true
		}
	}
	return false
}

// tellOf tells what is as before again.
func (op TakeBack) tellOf(e Entry) string {
	var what []string
	for _, o := range e.Objects {
		if o.Key != "pending" && !bytes.Equal(o.Before, o.After) {
			what = append(what, e.named(o))
		}
	}
	s := fmt.Sprintf("the change of revision %d is taken back", op.Revision)
	if e.By == ByController {
		s += ", as nobody confirmed it"
	}
	if len(what) == 0 {
		return s
	}
	return s + ": " + strings.Join(what, ", ")
}

func (op ConfirmApply) tell() string {
	return fmt.Sprintf("the change of revision %d is confirmed", op.Revision)
}
