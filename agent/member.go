package agent

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"strings"

	"github.com/warren-mesh/warren/agent/control"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers/wire"
)

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
