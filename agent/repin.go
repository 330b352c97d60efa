package agent

import (
	"context"
	"fmt"
	"net/http"

	"github.com/warren-mesh/warren/agent/control"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// repin takes the identity of the controller from a token, where this host is enrolled and whoever answers as
// its controller is not the one that it has pinned: it was away while the controller got another identity. The
// token is as good a proof as it was at the beginning, and it is not used up. Nothing else changes.
func (e *enrolment) repin(ctx context.Context) (done bool, err error) {
	var m store.Membership
	lost := false
	err = e.agent.do(ctx, func(_ context.Context, l *loop) {
		if v := l.link.view(); l.me.member != nil && !v.Connected && v.Fault != nil {
			m, lost = *l.me.member, v.Fault.Code == control.CodeMismatch
		}
	})
	if err != nil {
		return false, wire.NewFault(http.StatusServiceUnavailable, "agent-stopping", err.Error(), "systemctl status warren-agent")
	}
	if !lost || e.token.Pin == m.Pin || e.token.Pin == m.NextPin {
		return false, nil
	}
	if err := e.identify(); err != nil {
		return true, err
	}
	if err := e.check(ctx); err != nil {
		return true, err
	}
	if e.record.Mesh != m.Mesh {
		return true, wire.NewFault(http.StatusConflict, "already-enrolled",
			fmt.Sprintf("this host is in the mesh %s as %s, and the token is of another one", m.MeshName, m.Name),
			"to leave the one for the other: warren leave --force, then warren enroll TOKEN")
	}
	m.Pin, m.NextPin, m.Controllers = e.token.Pin, key.Identity{}, e.token.Controllers
	if err := e.agent.cfg.Store.PutMembership(m); err != nil {
		return true, diskFault(err)
	}
	e.say(stepEnrolled, "the controller has another identity, for which the token vouches; this host is %s as before", m.Name)
	return true, e.agent.do(context.WithoutCancel(ctx), func(ctx context.Context, l *loop) {
		l.me.member = &m
		l.unfollow()
		l.follow(ctx)
		l.publish()
	})
}
