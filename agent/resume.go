package agent

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

type identityKey = key.IdentityKey

// Pauses between attempts to finish an enrolment in the background.
const (
	resumeFirst = time.Second
	resumeMost  = time.Minute
	resumeEach  = 30 * time.Second // for one attempt
)

// A turnstile lets one through at a time.
type turnstile chan struct{}

func (t turnstile) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turnstile) give() { <-t }

// resume lets the loop finish an enrolment that was begun.
func (a *Agent) resume(ctx context.Context) {
	// The loop may have ended, and then there is nothing to resume.
	_ = a.do(context.WithoutCancel(ctx), func(ctx context.Context, l *loop) { l.resumeEnrolment(ctx) })
}

// resumeEnrolment goes on in the background with an enrolment whose answer did not come: the host may be
// a member already without knowing it.
func (l *loop) resumeEnrolment(ctx context.Context) {
	if l.me.member != nil || l.resuming {
		return
	}
	if _, err := l.Store.Enrolment(); errors.Is(err, fs.ErrNotExist) {
		l.trouble.set(fromEnrolment)
		return
	}
	l.resuming = true
	l.trouble.set(fromEnrolment, peers.Problem{
		Code: codeEnrolment, At: "enrolment", Message: "the controller has not answered an enrolment that was begun",
		Hint: "the agent goes on asking; or begin anew: warren enroll TOKEN",
	})
	l.publish()
	l.tasks.Go(func() {
		err := l.agent.finishEnrolment(ctx)
		_ = l.agent.do(ctx, func(ctx context.Context, l *loop) { l.resumed(err) })
	})
}

// resumed takes over that there is nothing more to resume.
func (l *loop) resumed(err error) {
	l.resuming = false
	l.trouble.set(fromEnrolment)
	if f, ok := errors.AsType[*wire.Fault](err); ok {
		l.Log.Error("the enrolment that was begun has failed", "code", f.Code, "error", f.Detail)
		l.trouble.set(fromEnrolment, peers.Problem{Code: f.Code, At: "enrolment", Message: f.Detail, Hint: f.Hint})
	}
	l.publish()
}

// finishEnrolment returns when there is nothing left to finish. The error is the controller's refusal.
func (a *Agent) finishEnrolment(ctx context.Context) error {
	for pause := resumeFirst; ; pause = min(2*pause, resumeMost) {
		done, err := a.finishOnce(ctx)
		if done || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
	}
}

func (a *Agent) finishOnce(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, resumeEach)
	defer cancel()
	if err := a.enrolling.take(ctx); err != nil {
		return false, nil
	}
	defer a.enrolling.give()
	record, err := a.cfg.Store.Enrolment()
	if err != nil {
		return true, nil // finished or given up in the meantime
	}
	e := &enrolment{agent: a, record: record, tell: func(wire.Progress) {}}
	if e.token, err = wire.ParseToken(record.Token); err != nil {
		return true, errors.Join(err, a.cfg.Store.DropEnrolment())
	}
	if err := e.identify(); err != nil {
		return true, err
	}
	err = e.finish(ctx)
	_, left := a.cfg.Store.Enrolment()
	return left != nil, err
}
