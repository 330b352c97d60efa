package agent

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/warren-mesh/warren/agent/failpoint"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// self is what a host knows of itself.
type self struct {
	member   *store.Membership // nil before enrolment
	identity key.IdentityKey   // zero where it is missing or damaged
	keys     peers.PrivateByGen
	signed   []peers.HostKey // the public halves of keys, ascending
	pins     peers.Pins      // the identities of others by their names
	heir     *wire.Heir      // while the controller asks for a new identity
}

// restore reads what is on disk. Whatever is damaged is shown and kept as it is; the rest is used.
func (l *loop) restore() {
	m, errMember := l.Store.Membership()
	id, errIdentity := l.identify(m)
	kept, errPlan := l.Store.Plan()
	enrolled := !errors.Is(errMember, fs.ErrNotExist) || errPlan == nil
	var problems []peers.Problem
	if enrolled {
		problems = append(problems, fileProblem(codeMembership, "membership", errMember)...)
	}
	if enrolled || !errors.Is(errIdentity, fs.ErrNotExist) {
		problems = append(problems, fileProblem(codeIdentity, "identity", errIdentity)...)
	}
	if errMember == nil {
		l.me.member = &m
		if errIdentity == nil && string(m.ID) != id.Identity().Fingerprint() {
			errIdentity = errors.New("the identity is not the one that was enrolled")
			problems = append(problems, fileProblem(codeIdentity, "identity", errIdentity)...)
		}
	}
	if errIdentity == nil {
		l.me.identity = id
	}
	keys, err := l.Store.Keys()
	for _, e := range split(err) {
		problems = append(problems, fileProblem(codeKey, "key", e)...)
	}
	l.me.keys = keys
	pins, errPins := l.Store.Pins()
	if !errors.Is(errPins, fs.ErrNotExist) {
		problems = append(problems, fileProblem(codePins, "pins", errPins)...)
	}
	l.me.pins = pins
	l.sign()
	problems = append(problems, l.restorePlan(kept, errPlan)...)
	l.trouble.set(fromFiles, problems...)
	for _, p := range problems {
		l.Log.Error("a file in the data directory cannot be used", "code", p.Code, "error", p.Message)
	}
}

func (l *loop) restorePlan(kept store.Kept, err error) []peers.Problem {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return []peers.Problem{{
			Code: codePlan, At: "data-dir/plan", Message: err.Error(),
			Hint: "the controller sends a new one as soon as it is reached; interfaces stay as they are until then",
		}}
	}
	m := l.me.member
	if m != nil && (kept.Plan.Mesh.ID != m.Mesh || !isOwn(m, kept.Plan.Self.ID)) {
		return []peers.Problem{{
			Code: codePlan, At: "data-dir/plan", Message: "the plan on disk is that of another host or mesh",
			Hint: "the controller sends the right one as soon as it is reached",
		}}
	}
	l.restoreRetreat(&kept.Plan)
	l.adopt(kept.Plan, kept.Head, false)
	l.built, l.kept, l.keptHeld = l.newestMade(&kept.Plan), kept.Plan.Moved, kept.Plan.HeldAt()
	if kept.Fallback == nil {
		return nil
	}
	return []peers.Problem{{
		Code: codeFallback, At: "data-dir/plan",
		Message: "the plan before the last one is used, because " + kept.Fallback.Error(),
		Hint:    "the controller sends the last one as soon as it is reached",
	}}
}

// sign signs the public keys anew.
func (l *loop) sign() {
	l.me.signed = nil
	if l.me.identity.IsZero() || l.me.member == nil {
		return
	}
	for _, g := range slices.Sorted(maps.Keys(l.me.keys)) {
		l.me.signed = append(l.me.signed,
			peers.SignKey(l.me.member.Mesh, l.me.identity, g, l.me.keys[g].Public()))
	}
}

// makeKeys makes the private keys that the plan of a controller asks for and that there are none of.
func (l *loop) makeKeys() {
	var problems []peers.Problem
	made := false
	for _, in := range l.plan.want.Interfaces {
		if _, have := l.me.keys[in.Generation]; have || !l.plan.fresh || l.early(in.Generation, time.Now()) {
			continue
		}
		failpoint.Reach(failpoint.PlanHeard)
		private, err := l.Store.MakeKey(in.Generation)
		if err != nil {
			problems = append(problems, keyProblem(in.Generation, err))
			continue
		}
		l.me.keys[in.Generation] = private
		made = true
		failpoint.Reach(failpoint.KeyMade)
		l.Log.Info("made a private key", "generation", in.Generation)
	}
	l.trouble.set(fromKeys, problems...)
	if made {
		l.sign()
	}
}

func keyProblem(g peers.Generation, err error) peers.Problem {
	if store.IsFull(err) {
		return diskProblem(err)
	}
	return peers.Problem{
		Code: codeKey, At: "generation/" + g.Link(), Message: err.Error(),
		Hint: "move the file away and restart the agent; it makes a new key: systemctl restart warren-agent",
	}
}

// wipeKeys destroys private keys of generations that are over, once no interface has them.
func (l *loop) wipeKeys(s peers.State) {
	if !l.plan.fresh {
		return
	}
	for g, private := range l.me.keys {
		planned := slices.ContainsFunc(l.plan.want.Interfaces, func(in peers.Interface) bool { return in.Generation == g })
		if planned {
			continue
		}
		public := private.Public()
		if slices.ContainsFunc(s.Links, func(link peers.Link) bool { return link.Public == public }) {
			continue
		}
		if err := l.Store.WipeKey(g); err != nil {
			l.trouble.set(fromKeys, diskProblem(err))
			continue
		}
		failpoint.Reach(failpoint.KeyWiped)
		private.Wipe()
		delete(l.me.keys, g)
		l.sign()
		l.Log.Info("wiped the private key of a generation that is over", "generation", g)
	}
}
