package peers

import (
	"fmt"
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers/key"
)

// maxFormer bounds the identities that a host has had before, all of which everybody is told.
const maxFormer = 32

// A Handover is how an identity hands over to the next one: it signs it. That tells a host which got a new
// identity from another one that has come under its name.
type Handover struct {
	From      key.Identity `json:"from"`
	Signature []byte       `json:"signature"` // by From, see SignHandover
}

// SignHandover lets an identity vouch for the one that follows it in a mesh. Signed is "warren/handover/1",
// then the mesh id behind its length (one byte) and the next identity.
func SignHandover(mesh string, from key.IdentityKey, to key.Identity) Handover {
	return Handover{From: from.Identity(), Signature: from.Sign(handoverMessage(mesh, to))}
}

func handoverMessage(mesh string, to key.Identity) []byte {
	m := append([]byte("warren/handover/1"), byte(len(mesh)))
	m = append(m, mesh...)
	return append(m, to[:]...)
}

// Verify reports whether the identity that hands over vouches for the next one in the mesh.
func (h Handover) Verify(mesh string, to key.Identity) bool {
	return !h.From.IsZero() && !to.IsZero() && h.From.Verify(handoverMessage(mesh, to), h.Signature)
}

// follows reports whether an unbroken chain of handovers leads from one identity to another one.
func follows(mesh string, from, to key.Identity, former []Handover) bool {
	start := slices.IndexFunc(former, func(h Handover) bool { return h.From == from })
	if start < 0 {
		return false
	}
	for i := start; i < len(former); i++ {
		next := to
		if i+1 < len(former) {
			next = former[i+1].From
		}
		if !former[i].Verify(mesh, next) {
			return false
		}
	}
	return true
}

// origin is the id of the first identity, which is for ever that of the host for its pre-shared keys: they
// stay as they are when a host gets another identity, so that no tunnel notices.
func origin(id HostID, former []Handover) HostID {
	if len(former) == 0 {
		return id
	}
	return HostID(former[0].From.Fingerprint())
}

// Origin is the id with which the host has enrolled.
func (h *Host) Origin() HostID { return origin(h.ID, h.Former) }

// Origin is the id with which the host has enrolled.
func (p *Peer) Origin() HostID { return origin(p.ID, p.Former) }

// OrderRekey lets a host make a new identity. It does so as soon as it hears of it and no rotation runs.
type OrderRekey struct {
	ID HostID `json:"id"`
}

// Kind is "host.rekey".
func (OrderRekey) Kind() string { return "host.rekey" }

func (op OrderRekey) apply(d *draft) {
	h, ok := d.host(op.ID)
	if !ok {
		return
	}
	at := "host/" + h.Name
	switch {
	case h.State != HostActive:
		d.refuse("state-order", at, "warren host ls", "it is %s: only an active host can get a new identity", h.State)
	case h.Rekey != nil:
		d.refuse("rekey-ordered", at, "warren host show "+h.Name, "it has been asked for a new identity at %s already",
			h.Rekey.UTC().Format(time.RFC3339))
	case len(h.Former) >= maxFormer:
		d.refuse("rekey-often", at, "let it join anew: warren host revoke "+h.Name, "it has had %d identities", len(h.Former)+1)
	}
	since := d.change.At
	h.Rekey = &since
	d.putHost(h)
}

// SucceedHost puts the new identity of a host in the place of the old one, which is buried. Only a host that
// was asked for it gets one: the old identity alone is not enough to go on for ever.
type SucceedHost struct {
	ID        HostID       `json:"id"`
	Identity  key.Identity `json:"identity"`
	Signature []byte       `json:"signature"` // by the old one, see SignHandover
	Keys      []HostKey    `json:"keys"`      // those that the host has, signed by the new one
}

// Kind is "host.succeed".
func (SucceedHost) Kind() string { return "host.succeed" }

func (op SucceedHost) apply(d *draft) {
	h, ok := d.host(op.ID)
	if !ok {
		return
	}
	at := "host/" + h.Name
	if h.State != HostActive || h.Rekey == nil {
		d.refuse("rekey-unordered", at, "warren host rekey "+h.Name, "nobody has asked it for a new identity")
	}
	if g := d.next.Mesh.Generations; len(g) != 1 {
		d.refuse("rotation-running", at, "warren rotate status", "a rotation is running: the new identity waits until it is over")
	}
	hand := Handover{From: h.Identity, Signature: slices.Clone(op.Signature)}
	if !hand.Verify(d.next.Mesh.ID, op.Identity) {
		d.refuse("handover-signature", at, "", "the identity of the host does not vouch for the new one")
	}
	id := HostID(op.Identity.Fingerprint())
	d.checkUnused(at, op.Identity)
	d.dropHost(h.ID)
	d.bury(Tombstone{ID: h.ID, Name: h.Name, Buried: d.change.At, Heir: id})
	old := h.Keys
	h.ID, h.Identity, h.Rekey, h.Keys = id, op.Identity, nil, nil
	h.Former = append(slices.Clone(h.Former), hand)
	h.Keys = d.mergeKeys(&h, op.Keys)
	same := slices.EqualFunc(old, h.Keys, func(a, b HostKey) bool { return a.Generation == b.Generation && a.Public == b.Public })
	if !same {
		d.refuse("keys-differ", at, "", "the new identity has not signed the keys that the host has")
	}
	d.putHost(h)
}

// checkUnused refuses an identity that somebody has or had.
func (d *draft) checkUnused(at string, identity key.Identity) {
	id := HostID(identity.Fingerprint())
	if a, ok := d.next.AdminWith(identity); ok {
		d.refuse("identity-taken", at, "", "admin %q has the same identity", a.Name)
	}
	if h := d.next.Hosts[id]; h != nil {
		d.refuse("identity-taken", at, "", "host %q has the same identity", h.Name)
	}
	if b := d.next.Buried[id]; b != nil {
		d.refuse("identity-revoked", at, "", "this identity was given up when it was that of host %q", b.Name)
	}
}

func (e Entry) tellHandover() string {
	o, _ := e.object("host/")
	before, _ := ends[Host](o)
	if before == nil {
		return e.tellKeys()
	}
	if e.Kind == (OrderRekey{}).Kind() {
		return fmt.Sprintf("host %s is asked for a new identity", before.Name)
	}
	return fmt.Sprintf("host %s has a new identity, which its old one, %s, has signed", before.Name, before.Identity)
}
