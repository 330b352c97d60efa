package peers

import (
	"fmt"
	"time"

	"github.com/warren-mesh/warren/peers/key"
)

// maxOverlap is how long a controller may have two identities.
const maxOverlap = 90 * day

// A Succession is the next identity of the controller, which hosts get to know before it is used. Both are
// good until all hosts know it, or the time is up.
type Succession struct {
	Handover
	To    key.Identity `json:"to"`
	Since time.Time    `json:"since"`
	Until time.Time    `json:"until"` // then it is used, whoever does not know it
}

// RekeyMesh begins the overlap of two identities of the controller.
type RekeyMesh struct {
	From      key.Identity `json:"from"`
	To        key.Identity `json:"to"`
	Signature []byte       `json:"signature"` // by From, see SignHandover
	Until     time.Time    `json:"until"`
}

// SucceedMesh ends it: the next identity is the only one. Tokens that were made before name the other one,
// so they are revoked. Hosts that have not acknowledged it are named: they cannot know the controller any
// more, until they are given a new token.
type SucceedMesh struct {
	To     key.Identity `json:"to"`
	Behind []HostID     `json:"behind,omitempty"`
}

// Kind is "mesh.rekey".
func (RekeyMesh) Kind() string { return "mesh.rekey" }

// Kind is "mesh.succeed".
func (SucceedMesh) Kind() string { return "mesh.succeed" }

func (op RekeyMesh) apply(d *draft) {
	m := d.next.Mesh
	const at = "mesh/pin"
	if m.Heir != nil {
		d.refuse("rekey-running", at, "warren mesh show", "the controller has a next identity already, since %s",
			m.Heir.Since.UTC().Format(time.RFC3339))
	}
	if !m.Pin.IsZero() && op.From != m.Pin {
		d.refuse("pin-other", at, "", "it would hand over an identity that is not the controller's")
	}
	hand := Handover{From: op.From, Signature: op.Signature}
	if !hand.Verify(d.next.Mesh.ID, op.To) {
		d.refuse("handover-signature", at, "", "the identity of the controller does not vouch for the next one")
	}
	d.checkUnused(at, op.To)
	d.checkFuture(at, op.Until)
	if op.Until.Sub(d.change.At) > maxOverlap {
		d.refuse("overlap-long", at, "", "an overlap of more than %s", FormatSpan(maxOverlap))
	}
	m.Heir = &Succession{Handover: hand, To: op.To, Since: d.change.At, Until: op.Until.UTC()}
	d.putMesh(m)
}

func (op SucceedMesh) apply(d *draft) {
	m := d.next.Mesh
	if m.Heir == nil || m.Heir.To != op.To {
		d.refuse("rekey-unordered", "mesh/pin", "warren mesh rekey", "the controller has no such next identity")
		return
	}
	for _, id := range op.Behind {
		d.host(id)
	}
	m.Pin, m.Heir = op.To, nil
	d.putMesh(m)
	for _, t := range d.prev.sortedTokens() {
		if t.Valid(t.Name, d.change.At) == nil {
			revoked := *t
			revoked.Revoked = true
			d.putToken(revoked)
		}
	}
}

func (e Entry) tellRekey(op Op) string {
	switch op := op.(type) {
	case RekeyMesh:
		return fmt.Sprintf("the controller gets the identity %s, which its present one, %s, has signed; "+
			"hosts have until %s to learn it", op.To, op.From, op.Until.UTC().Format(time.RFC3339))
	case SucceedMesh:
		s := fmt.Sprintf("the controller's identity is %s from now on", op.To)
		revoked := 0
		for _, o := range e.Objects {
			if _, after := ends[Token](o); after != nil && after.Hash != (Hash{}) {
				revoked++
			}
		}
		if revoked > 0 {
			s += fmt.Sprintf("; %d tokens that name the former one are revoked", revoked)
		}
		if n := len(op.Behind); n > 0 {
			s += fmt.Sprintf("; %d hosts have not learnt it", n)
		}
		return s
	}
	return e.tellKeys()
}
