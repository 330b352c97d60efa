package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/warren-mesh/warren/agent/control"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers/wire"
)

// Steps of an enrolment, as scripts know them.
const (
	stepToken      = "token"
	stepController = "controller"
	stepKeys       = "keys"
	stepEnrolled   = "enrolled"
	stepApproval   = "approval"
	stepPlan       = "plan"
	stepPeers      = "peers"
)

const (
	enrollWithin  = 60 * time.Second
	enrollMost    = time.Hour
	retryEnroll   = 500 * time.Millisecond
	earlierWithin = 5 * time.Second // for an enrolment with another token that was begun before
)

// An enrolment is one attempt to make this host a member.
type enrolment struct {
	agent  *Agent
	tell   func(wire.Progress)
	token  wire.Token
	record store.Enrolment
	client *control.Client
	who    identityKey
}

// Enroll makes this host a member of the mesh that the token is of. It tells each step and returns when the
// first plan is applied and every peer that can be reached has answered. An error is a *wire.Fault. Up to
// the request to the controller it changes nothing but the files of the agent; what was begun with it is
// finished by the agent itself, whoever still listens.
func (a *Agent) Enroll(ctx context.Context, order wire.LocalEnroll, tell func(wire.Progress)) error {
	limit := enrollWithin
	if order.Timeout > 0 {
		limit = min(time.Duration(order.Timeout)*time.Second, enrollMost)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	e := &enrolment{agent: a, tell: tell}
	if err := e.read(order); err != nil {
		return err
	}
	if err := a.enrolling.take(ctx); err != nil {
		return wire.NewFault(http.StatusConflict, "enrolment-running", "another enrolment is under way", "warren status")
	}
	err := e.join(ctx)
	a.enrolling.give()
	if err != nil {
		a.resume(ctx)
		return err
	}
	return a.await(ctx, tell)
}

// read takes in what was asked for.
func (e *enrolment) read(order wire.LocalEnroll) error {
	token, err := wire.ParseToken(order.Token)
	if err != nil {
		return wire.NewFault(http.StatusBadRequest, "token-malformed", err.Error(),
			"paste the whole string that this printed on the controller: warren token create --site SITE")
	}
	e.token = token
	e.record.Token = token.Encode()
	e.record.Name = order.Name
	e.say(stepToken, "token %s of the controller at %s", token.ID, strings.Join(token.Controllers, ", "))
	return nil
}

func (e *enrolment) say(step, format string, args ...any) {
	e.tell(wire.Progress{Step: step, Message: fmt.Sprintf(format, args...)})
}

// join does everything up to the membership.
func (e *enrolment) join(ctx context.Context) error {
	if done, err := e.repin(ctx); done || err != nil {
		return err
	}
	now, done, err := e.agent.mayEnroll(ctx, e.token.ID)
	if err != nil || done {
		return err
	}
	if err := e.identify(); err != nil {
		return err
	}
	if finished, err := e.goOn(ctx); finished {
		return err
	}
	if err := e.check(ctx); err != nil {
		return err
	}
	if err := e.agent.fits(ctx, e.record, now); err != nil {
		return err
	}
	if err := e.agent.cfg.Store.PutEnrolment(e.record); err != nil {
		return diskFault(err)
	}
	return e.finish(ctx)
}

// goOn takes up an enrolment that was begun before and whose answer did not come: with the same token it is
// this one, and with another one the host may be a member already.
func (e *enrolment) goOn(ctx context.Context) (finished bool, err error) {
	before, err := e.agent.cfg.Store.Enrolment()
	if err != nil {
		return false, nil // none, or nothing that could be gone on with
	}
	if before.Token == e.record.Token {
		e.record = before
		return true, e.finish(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, earlierWithin)
	defer cancel()
	old := &enrolment{agent: e.agent, tell: e.tell, record: before}
	if old.token, err = wire.ParseToken(before.Token); err != nil {
		return false, nil
	}
	if err := old.identify(); err != nil {
		return true, err
	}
	return old.finish(ctx) == nil, nil
}

// check asks the controller what the token leads to.
func (e *enrolment) check(ctx context.Context) error {
	offer, answer, err := e.client.Check(ctx, wire.EnrollCheck{
		Protocol: wire.Protocol, TokenID: e.token.ID, Secret: e.token.Secret[:], Name: e.record.Name,
	})
	if err != nil {
		return asFault(err)
	}
	if e.record.Name == "" {
		e.record.Name = offer.Name
	}
	if e.record.Name == "" {
		e.record.Name = hostName(e.agent.cfg.Hostname)
	}
	e.record.Mesh, e.record.MeshName, e.record.Generations = offer.MeshID, offer.Mesh, offer.Generations
	e.record.Overlay, e.record.Overlay6 = offer.Overlay, offer.Overlay6
	e.say(stepController, "the controller answers at %s: mesh %s, site %s", answer.Address, offer.Mesh, offer.Site)
	if ahead := time.Since(offer.Time); !offer.Time.IsZero() && ahead.Abs() > clockTolerance {
		p := clockProblem(ahead)
		e.say(stepController, "warning: %s; %s", p.Message, p.Hint)
	}
	return nil
}

// asFault is an error of a call as a fault, which it nearly always is.
func asFault(err error) *wire.Fault {
	if f, ok := errors.AsType[*wire.Fault](err); ok {
		return f
	}
	return wire.NewFault(http.StatusInternalServerError, "enrolment-failed", err.Error(), "journalctl -u warren-agent")
}
