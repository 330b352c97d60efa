package agent

import (
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
)

// learnPin takes in what a plan says of the controller's identity: that it has a next one, which is believed
// where the pinned one has signed it, or that this is the only one from now on. What is believed is on disk
// before the controller hears that it is.
func (l *loop) learnPin() {
	m := l.me.member
	if !l.plan.fresh || m == nil {
		return
	}
	mesh, next := &l.plan.want.Mesh, *m
	switch heir := mesh.Heir; {
	case !m.NextPin.IsZero() && mesh.Pin == m.NextPin:
		next.Pin, next.NextPin = m.NextPin, [32]byte{}
	case heir == nil:
		l.trouble.set(fromPinHeir)
		return
	case heir.From != m.Pin || !heir.Verify(m.Mesh, heir.To):
		l.fail(fromPinHeir, peers.Problem{
			Code: codePinHeir, At: "controller",
			Message: "the controller says that it will have another identity, which the present one has not signed",
			Hint:    "ask an admin whether that is so: warren mesh show",
		})
		return
	default:
		next.NextPin = heir.To
	}
	l.trouble.set(fromPinHeir)
	if next.Pin != m.Pin || next.NextPin != m.NextPin {
		l.keepPin(next)
	}
}

// keepPin keeps which identities of the controller this host believes.
func (l *loop) keepPin(next store.Membership) {
	if err := l.Store.PutMembership(next); err != nil {
		l.fail(fromPinHeir, diskProblem(err))
		return
	}
	l.me.member = &next
	if l.link.client != nil {
		l.link.client.Trust(next.Pin, next.NextPin)
	}
	l.Log.Info("learnt of an identity of the controller", "pin", next.Pin.String(), "next", next.NextPin.String())
}
