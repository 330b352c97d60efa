package agent

import (
	"context"

	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// A host gets a new identity in three steps, none of which touches a tunnel: the plan asks for one; the
// agent makes it, keeps it beside the present one and reports it, signed by that; and when the controller
// says that the present one is given up, the agent puts the new one in its place. Whatever happens in
// between, the agent comes with the identity that it has until it is told to take the other.

// makeHeir makes the next identity where the plan asks for one.
func (l *loop) makeHeir() {
	if !l.plan.fresh || !l.plan.want.Self.Rekey || l.me.member == nil || l.me.identity.IsZero() {
		l.me.heir = nil
		l.trouble.set(fromHeir)
		return
	}
	next, err := l.Store.Heir()
	if err != nil {
		l.fail(fromHeir, heirProblem(err))
		return
	}
	mesh := l.me.member.Mesh
	heir := &wire.Heir{Identity: next.Identity(), Signature: peers.SignHandover(mesh, l.me.identity, next.Identity()).Signature}
	for _, in := range l.plan.want.Interfaces {
		if private, ok := l.me.keys[in.Generation]; ok {
			heir.Keys = append(heir.Keys, peers.SignKey(mesh, next, in.Generation, private.Public()))
		}
	}
	l.me.heir = heir
	l.trouble.set(fromHeir)
}

// fail shows a problem, and logs it where it is new.
func (l *loop) fail(from source, p peers.Problem) {
	if !sameProblem(l.trouble[from], p) {
		l.Log.Error("a new identity is of no use yet", "code", p.Code, "error", p.Message)
	}
	l.trouble.set(from, p)
}

func heirProblem(err error) peers.Problem {
	if store.IsFull(err) {
		return diskProblem(err)
	}
	return peers.Problem{
		Code: codeHeir, At: "data-dir/identity.next", Message: err.Error(),
		Hint: "move the file away and restart the agent: systemctl restart warren-agent",
	}
}

// succeed takes the next identity, because the controller has given up the present one for it, and reports
// whether there was one. Where there is none, somebody else has handed over: the status says that the
// controller has another identity for this host.
func (l *loop) succeed(ctx context.Context) bool {
	if !l.Store.HasHeir() {
		return false
	}
	next, err := l.Store.Heir()
	if err == nil {
		m := *l.me.member
		m.ID, m.Formerly = peers.HostID(next.Identity().Fingerprint()), m.ID
		if err = l.Store.PutMembership(m); err == nil {
			l.me.member = &m
			err = l.Store.Succeed()
		}
	}
	if err != nil {
		l.fail(fromHeir, heirProblem(err))
		return false
	}
	l.Log.Info("took a new identity", "id", string(l.me.member.ID), "before", string(l.me.member.Formerly))
	l.me.identity, l.me.heir = next, nil
	l.trouble.set(fromHeir)
	l.sign()
	l.unfollow()
	l.follow(ctx)
	l.publish()
	return true
}

// identify reads the identity of a member. One that does not fit because the agent ended between the two
// steps of taking the next one is followed by that.
func (l *loop) identify(m store.Membership) (key.IdentityKey, error) {
	id, err := l.Store.Identity()
	if err != nil || m.ID == "" || string(m.ID) == id.Identity().Fingerprint() || !l.Store.HasHeir() {
		return id, err
	}
	next, err := l.Store.Heir()
	if err != nil || string(m.ID) != next.Identity().Fingerprint() {
		return id, err
	}
	return next, l.Store.Succeed()
}

// isOwn reports whether a plan is one for this host, under this identity or the one before.
func isOwn(m *store.Membership, id peers.HostID) bool {
	return id == m.ID || m.Formerly != "" && id == m.Formerly
}
