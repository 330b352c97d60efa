package agent

import (
	"context"
	"crypto/rand"
	"slices"

	"github.com/warren-mesh/warren/agent/control"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// link is the way to the controller.
type link struct {
	follower *control.Follower // nil while there is none
	client   *control.Client   // of the follower
	stop     func()
	taken    *control.Held // what the loop has taken over
	session  string
	local    []peers.Endpoint
	unkept   bool // addresses of controllers, on disk
}

func (k *link) changed() <-chan struct{} {
	if k.follower == nil {
		return nil
	}
	return k.follower.Changed()
}

// view is how things stand with the controller.
func (k *link) view() control.View {
	if k.follower == nil {
		return control.View{}
	}
	return k.follower.View()
}

// addresses looks up where this host may be reached.
func (k *link) addresses(l *loop) {
	found, err := l.Addresses()
	if err != nil {
		l.Log.Debug("the addresses of this host cannot be listed", "error", err)
		return
	}
	k.local = candidates(found, l.Pinned, l.Port, l.overlays())
}

// follow begins to follow the controller, if this host has one and can prove who it is.
func (l *loop) follow(ctx context.Context) {
	if l.me.member == nil || l.me.identity.IsZero() || l.link.follower != nil {
		return
	}
	m := l.me.member
	client, err := control.NewClient(l.me.identity, m.Pin, m.Controllers, l.Dial)
	if err == nil {
		client.Trust(m.Pin, m.NextPin)
	}
	if err != nil {
		l.Log.Error("cannot follow the controller", "error", err)
		return
	}
	if l.link.session == "" {
		l.link.session = rand.Text()
	}
	l.link.addresses(l)
	var held *control.Held
	if l.plan != nil && l.plan.received.Self.ID == m.ID {
		held = &control.Held{Plan: l.plan.received, Head: l.plan.head}
	}
	f := control.NewFollower(control.Following{
		Client: client, Self: m.ID, Mesh: m.Mesh, Held: held, Hello: l.hello(), Log: l.Log,
		Doubted: l.plan != nil && !l.plan.fresh,
	})
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.Run(ctx)
	}()
	l.link.follower, l.link.client, l.link.taken = f, client, held
	l.link.stop = func() {
		cancel()
		<-ended
	}
}

// unfollow ends that.
func (l *loop) unfollow() {
	if l.link.follower != nil {
		l.link.stop()
		l.link.follower = nil
	}
}

// learnControllers keeps the addresses that the controller has named.
func (l *loop) learnControllers(addresses []string) {
	if slices.Equal(addresses, l.me.member.Controllers) || len(addresses) == 0 {
		return
	}
	m := *l.me.member
	m.Controllers = slices.Clone(addresses)
	l.me.member = &m
	l.link.unkept = true
	l.keepControllers()
}

// keepControllers writes down addresses that are not on disk yet, again and again where there is no room.
func (l *loop) keepControllers() {
	if !l.link.unkept || l.me.member == nil {
		return
	}
	err := l.Store.PutMembership(*l.me.member)
	l.link.unkept = err != nil
	if err == nil {
		l.trouble.set(fromController)
		return
	}
	p := diskProblem(err)
	if !sameProblem(l.trouble[fromController], p) {
		l.Log.Warn("the addresses of the controllers cannot be kept", "error", err)
	}
	l.trouble.set(fromController, p)
}

func (l *loop) hello() wire.Hello {
	return wire.Hello{
		Protocol: wire.Protocol, Session: l.link.session, Version: l.Version, Backend: l.Kernel.Backend(),
		Port: l.Port, Endpoints: l.link.local, Keys: l.me.signed, Gate: peers.GateVersion, Retires: true, Holds: true,
	}
}

// report hands the controller what it may want to know.
func (l *loop) report(problems []peers.Problem, s *wire.Status) {
	if l.link.follower == nil {
		return
	}
	r := wire.Report{
		Problems: &problems, Generation: s.Generation, Backend: s.Backend, Keys: l.me.signed, Peers: l.peerReports(),
	}
	r.Gateway = l.scout.report()
	r.Holds = l.holds()
	r.Heir, r.Pin = l.me.heir, l.me.member.NextPin
	if l.plan != nil {
		r.Revision = l.revision()
	}
	l.link.follower.Tell(l.hello(), r)
}
