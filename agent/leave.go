package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/warren-mesh/warren/agent/control"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Steps of leaving, as scripts know them. The first is that of an enrolment.
const (
	stepNetwork = "network"
	stepFiles   = "files"
)

// goodbyeWithin is how long the controller may take to say that it knows.
const goodbyeWithin = 20 * time.Second

// Leave takes this host out of its mesh: it tells the controller and restores the host. Without force nothing is
// restored unless the controller knows. An error is a *wire.Fault.
func (a *Agent) Leave(ctx context.Context, order wire.LocalLeave, tell func(wire.Progress)) error {
	if err := a.enrolling.take(ctx); err != nil {
		return wire.NewFault(http.StatusConflict, "enrolment-running", "an enrolment is under way", "warren status")
	}
	defer a.enrolling.give()
	var me self
	there := false
	if err := a.do(ctx, func(_ context.Context, l *loop) {
		me, there = l.me, l.isAnything()
		l.unfollow() // or it would hear that it is no member any more
	}); err != nil {
		return stopping(err)
	}
	if !there && !order.Force {
		return faultUnenrolled()
	}
	if err := a.sayGoodbye(ctx, me, order.Force, tell); err != nil {
		_ = a.do(context.WithoutCancel(ctx), func(ctx context.Context, l *loop) { l.follow(ctx) })
		return err
	}
	var left []string
	var failed error
	if err := a.do(context.WithoutCancel(ctx), func(ctx context.Context, l *loop) {
		left, failed = l.leave(ctx)
	}); err != nil {
		return stopping(err)
	}
	if failed != nil {
		return wire.NewFault(http.StatusInternalServerError, "leave-incomplete", failed.Error(),
			"it goes on where it stopped: warren leave --force; or: systemctl stop warren-agent && warren-agent clean")
	}
	tell(wire.Progress{Step: stepNetwork, Message: "removed interfaces, addresses and routes of the mesh"})
	tell(wire.Progress{Step: stepFiles, Message: wiped(left)})
	status := a.board.look().status
	tell(wire.Progress{Done: true, Status: &status})
	return nil
}

func stopping(err error) *wire.Fault {
	return wire.NewFault(http.StatusServiceUnavailable, "agent-stopping", err.Error(), "systemctl status warren-agent")
}

func wiped(left []string) string {
	if len(left) == 0 {
		return "wiped identity, keys and plans"
	}
	return "wiped identity, keys and plans; in the data directory stays what is none of Warren's: " + strings.Join(left, ", ")
}

// isAnything reports whether there is anything to leave, be it half an enrolment or what damage has left of one.
func (l *loop) isAnything() bool {
	_, err := l.Store.Enrolment()
	return l.me.member != nil || l.plan != nil || err == nil || len(l.trouble[fromFiles]) > 0
}

// sayGoodbye tells the controller. One that does not know this host any more needs to be told nothing.
func (a *Agent) sayGoodbye(ctx context.Context, me self, force bool, tell func(wire.Progress)) error {
	ctx, cancel := context.WithTimeout(ctx, goodbyeWithin)
	defer cancel()
	at, fault := a.goodbye(ctx, me)
	switch {
	case fault == nil:
		tell(wire.Progress{Step: stepController, Message: "the controller at " + at + " has taken this host out of the mesh"})
		return nil
	case isGone(fault):
		tell(wire.Progress{Step: stepController, Message: "the controller does not count on this host: " + fault.Detail})
		return nil
	case force:
		tell(wire.Progress{Step: stepController, Message: "the controller was not told: " + fault.Detail + untold(me)})
		return nil
	}
	return wire.NewFault(fault.Status, fault.Code, "nothing was changed, because the controller could not be told: "+fault.Detail,
		"restore this host all the same: warren leave --force")
}

// untold says what is left to do on a controller that was not told.
func untold(me self) string {
	if me.member == nil {
		return ""
	}
	return "; there this is left to do: warren host rm " + me.member.Name
}

// isGone reports whether a controller that refuses has no place for this host anyway. A suspended one has.
func isGone(f *wire.Fault) bool { return f.Code == "not-enrolled" || f.Code == "revoked" }

func (a *Agent) goodbye(ctx context.Context, me self) (at string, fault *wire.Fault) {
	switch {
	case me.member == nil:
		return "", wire.NewFault(http.StatusConflict, codeMembership, "this host does not know its controller", "warren status")
	case me.identity.IsZero():
		return "", wire.NewFault(http.StatusConflict, codeIdentity, "this host cannot prove who it is", "warren status")
	}
	client, err := control.NewClient(me.identity, me.member.Pin, me.member.Controllers, a.cfg.Dial)
	if err == nil {
		client.Trust(me.member.Pin, me.member.NextPin)
		var answer control.Answer
		if answer, err = client.Leave(ctx); err == nil {
			return answer.Address, nil
		}
	}
	if f, ok := errors.AsType[*wire.Fault](err); ok {
		return "", f
	}
	return "", wire.NewFault(http.StatusInternalServerError, control.CodeUnreachable, err.Error(), "warren doctor")
}

// leave restores the host and forgets the mesh. What fails can be tried again, and is, after a crash, by the next
// agent.
func (l *loop) leave(ctx context.Context) (left []string, err error) {
	l.saver.discard()
	l.plan = nil // or the next turn would build it again
	if err := l.Store.PutLeaving(); err != nil {
		l.Log.Warn("that this host leaves cannot be noted; a crash in this moment would bring it back", "error", err)
	}
	if err := l.unbuild(ctx); err != nil {
		return nil, err
	}
	l.forget()
	left, err = l.Store.Clear()
	if err != nil {
		l.trouble.set(fromFiles, diskProblem(err))
	}
	l.publish()
	l.Log.Info("left the mesh")
	return left, err
}

// unbuild removes all that is ours from the host's network.
func (l *loop) unbuild(ctx context.Context) error {
	state, err := l.Kernel.Observe(ctx)
	if err != nil {
		return fmt.Errorf("the kernel cannot be asked: %w", err)
	}
	failed := slices.DeleteFunc(split(l.Kernel.Apply(ctx, peers.Diff(state, peers.Plan{}))), func(err error) bool {
		return errors.Is(err, peers.ErrForeign) // a link of somebody else in our name was never touched
	})
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("the host's network is not restored: %w", err)
	}
	return nil
}

// forget makes the loop that of a host which has never been in a mesh.
func (l *loop) forget() {
	for _, private := range l.me.keys {
		private.Wipe()
	}
	l.me = self{keys: peers.PrivateByGen{}}
	l.plan, l.seen, l.health, l.pace, l.healing = nil, observation{}, health{}, pace{}, healing{}
	l.trials.of = nil
	l.retreat.forget()
	l.trouble = trouble{}
	l.link, l.built, l.kept, l.keptHeld, l.keptGuard = link{}, 0, peers.Moved{}, 0, ""
	l.Prober.Answer(nil, nil)
}

// leaveAtLast finishes what an agent that was killed had begun.
func (l *loop) leaveAtLast(ctx context.Context) bool {
	if !l.Store.Leaving() {
		return false
	}
	l.Log.Warn("this host was about to leave the mesh when the agent ended; going on with that")
	if _, err := l.leave(ctx); err != nil {
		l.Log.Error("leaving the mesh is not finished", "error", err)
		l.trouble.set(fromFiles, peers.Problem{
			Code: "leave-incomplete", At: "host", Message: err.Error(), Hint: "go on with it: warren leave --force",
		})
	}
	return true
}
