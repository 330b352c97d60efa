package agent

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Bootstrap enrols this host with a token that it was given beforehand. It goes on trying until the host is
// a member, or the controller refuses the token, which status then shows. The token is not looked at where
// the host is a member already, or becomes one otherwise.
func (a *Agent) Bootstrap(ctx context.Context, token string) {
	said := ""
	for pause := resumeFirst; ; pause = min(2*pause, resumeMost) {
		if a.isMember(ctx) {
			return
		}
		err := a.Enroll(ctx, wire.LocalEnroll{Token: token}, func(p wire.Progress) {
			a.cfg.Log.Info("enrolling with the token given beforehand", "step", p.Step, "message", p.Message)
		})
		if err == nil || ctx.Err() != nil {
			return
		}
		f := asFault(err)
		refused := strings.HasPrefix(f.Code, "token-")
		if said != f.Detail {
			said = f.Detail
			a.cfg.Log.Error("the token given beforehand has not made this host a member", "again", !refused,
				"code", f.Code, "error", f.Detail, "hint", f.Hint)
		}
		a.lament(ctx, f)
		if refused {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
	}
}

// isMember also says yes of a host whose files are damaged: a token given once does not mend them.
func (a *Agent) isMember(ctx context.Context) (yes bool) {
	err := a.do(ctx, func(_ context.Context, l *loop) {
		yes = l.me.member != nil || l.plan != nil || len(l.trouble[fromFiles]) > 0
	})
	return yes || err != nil
}

// lament shows in the status why an enrolment that nobody waits for has failed.
func (a *Agent) lament(ctx context.Context, f *wire.Fault) {
	// The loop may have ended, and then there is no status.
	_ = a.do(ctx, func(_ context.Context, l *loop) {
		if l.me.member == nil && !l.resuming {
			l.trouble.set(fromEnrolment, peers.Problem{Code: f.Code, At: "enrolment", Message: f.Detail, Hint: f.Hint})
			l.publish()
		}
	})
}
