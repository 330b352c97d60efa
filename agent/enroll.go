package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/warren-mesh/warren/agent/control"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
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
func asFault(err error) error {
	if f, ok := errors.AsType[*wire.Fault](err); ok {
		return f
	}
	return wire.NewFault(http.StatusInternalServerError, "enrolment-failed", err.Error(), "journalctl -u warren-agent")
}

// finish asks the controller to admit the host, again and again until it says yes or no, or ctx ends. What
// is on disk lets the agent go on after a crash as if nothing had happened.
func (e *enrolment) finish(ctx context.Context) error {
	request, err := e.request()
	if err != nil {
		return err
	}
	for again := false; ; {
		enrolled, _, err := e.client.Enroll(ctx, request)
		var f *wire.Fault
		switch {
		case err == nil:
			return e.keep(ctx, enrolled)
		case !errors.As(err, &f):
			return asFault(err)
		case isGeneration(f) && !again:
			again = true
			if err := e.check(ctx); err != nil {
				return err
			}
			if request, err = e.request(); err != nil {
				return err
			}
			continue
		case isFinal(f):
			return errors.Join(err, e.agent.cfg.Store.DropEnrolment())
		}
		select {
		case <-ctx.Done():
			return f
		case <-time.After(max(retryEnroll, time.Duration(f.RetryAfter)*time.Second)):
		}
	}
}

// isGeneration tells that a rotation began between check and request.
func isGeneration(f *wire.Fault) bool { return f.Code == "key-missing" || f.Code == "key-generation" }

// isFinal tells a refusal from a failure to ask, after which the answer may still come.
func isFinal(f *wire.Fault) bool {
	return f.Status/100 == 4 && f.Status != http.StatusTooManyRequests && f.Status != http.StatusRequestTimeout
}

// request signs the keys, making those that there are none of.
func (e *enrolment) request() (wire.EnrollRequest, error) {
	c := &e.agent.cfg
	r := wire.EnrollRequest{
		Protocol: wire.Protocol, TokenID: e.token.ID, Secret: e.token.Secret[:], Name: e.record.Name, Port: c.Port,
	}
	have, err := c.Store.Keys()
	if err != nil {
		return r, diskFault(err)
	}
	for _, g := range e.record.Generations {
		private, ok := have[g]
		if !ok {
			if private, err = c.Store.MakeKey(g); err != nil {
				return r, diskFault(err)
			}
		}
		r.Keys = append(r.Keys, peers.SignKey(e.record.Mesh, e.who, g, private.Public()))
	}
	local, err := c.Addresses()
	if err != nil {
		local = nil // the controller sees where the host comes from
	}
	r.Endpoints = candidates(local, c.Pinned, c.Port, nil)
	e.say(stepKeys, "made keys of generation %v; the private ones stay here", e.record.Generations)
	return r, nil
}

// keep makes the membership last and hands it to the loop.
func (e *enrolment) keep(ctx context.Context, enrolled wire.Enrolled) error {
	if string(enrolled.ID) != e.who.Identity().Fingerprint() {
		return wire.NewFault(http.StatusBadGateway, "controller-answer", "the controller has enrolled somebody else", "warren doctor")
	}
	controllers := enrolled.Controllers
	if len(controllers) == 0 {
		controllers = e.token.Controllers
	}
	m := store.Membership{
		Mesh: e.record.Mesh, MeshName: e.record.MeshName, ID: enrolled.ID, Name: enrolled.Name, Site: enrolled.Site,
		Address: enrolled.Address, Address6: enrolled.Address6, Pin: e.token.Pin, Controllers: controllers,
		Token: e.token.ID,
	}
	c := &e.agent.cfg
	if err := c.Store.PutMembership(m); err != nil {
		f := diskFault(err)
		f.Hint = "the controller has admitted this host; the agent finishes by itself when it can write: df -h"
		return f
	}
	if err := c.Store.DropEnrolment(); err != nil {
		c.Log.Warn("the used token cannot be removed from the disk", "error", err)
	}
	e.say(stepEnrolled, "enrolled as %s with the address %v", m.Name, m.Address)
	return e.agent.do(context.WithoutCancel(ctx), func(ctx context.Context, l *loop) { l.join(ctx, m, e.who) })
}

// join makes the loop that of a member.
func (l *loop) join(ctx context.Context, m store.Membership, who identityKey) {
	l.me.member, l.me.identity = &m, who
	keys, err := l.Store.Keys()
	if err != nil {
		l.Log.Error("a private key cannot be used", "error", err)
	}
	l.me.keys = keys
	l.sign()
	l.trouble.set(fromEnrolment)
	l.Log.Info("enrolled", "host", m.Name, "id", m.ID)
	l.unfollow()
	l.follow(ctx)
	l.publish()
}

// diskFault is a file that cannot be read or written, as a fault.
func diskFault(err error) *wire.Fault {
	p := diskProblem(err)
	if _, damaged := errors.AsType[*store.Damaged](err); damaged {
		p.Code, p.Hint = codeKey, hintAnew
	}
	return wire.NewFault(http.StatusInsufficientStorage, p.Code, p.Message, p.Hint)
}

// hostName makes a name for the mesh of the machine's own.
func hostName(machine string) string {
	short, _, _ := strings.Cut(machine, ".")
	return strings.ToLower(short)
}

// identify reads the identity, or makes it with the first enrolment.
func (e *enrolment) identify() error {
	s := e.agent.cfg.Store
	who, err := s.Identity()
	if errors.Is(err, fs.ErrNotExist) {
		who, err = s.MakeIdentity()
	}
	if err != nil {
		f := diskFault(err)
		if f.Code == codeKey {
			f.Code = codeIdentity
		}
		return f
	}
	e.who = who
	e.client, err = control.NewClient(who, e.token.Pin, e.token.Controllers, e.agent.cfg.Dial)
	if err != nil {
		return asFault(err)
	}
	return nil
}
