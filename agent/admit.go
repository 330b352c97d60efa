package agent

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// finish asks the controller to admit the host, again and again until it says yes or no, or ctx ends. What
// is on disk lets the agent go on after a crash as if nothing had happened.
func (e *enrolment) finish(ctx context.Context) error {
	request, err := e.request()
	if err != nil {
		return err
	}
	var said *wire.Fault // by the last attempt that was not cut short
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
		case ctx.Err() != nil && said != nil:
			return said // that time is up says nothing of why it was not enough
		}
		said = f
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
