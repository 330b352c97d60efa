package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// access is what a caller must be for an operation.
type access string

const (
	forStrangers access = "anybody who proves an identity over TLS"
	forReaders   access = "admins, and who may read on the socket"
	forAdmins    access = "admins"
)

// check says why a caller has no access; nil for one who has.
func (a access) check(c Caller) error {
	switch {
	case a == forStrangers && !c.Identity.IsZero(), a == forReaders && c.Read, a == forAdmins && c.Write:
		return nil
	case a == forStrangers:
		return faultf(http.StatusForbidden, "hosts-only", "", "this is for agents, which come by TLS and prove an identity")
	case c.Read:
		return faultf(http.StatusForbidden, "read-only", "as root, or as a member of the group warren-admin",
			"%s may look but not change anything", c.Name)
	case c.Identity.IsZero():
		return faultf(http.StatusForbidden, "not-admin",
			"as root, or as a member of the group warren-admin (to look: warren)",
			"%s may not talk to the controller", c.Name)
	}
	return faultf(http.StatusForbidden, "not-admin", "on the controller: warren admin add NAME "+c.Identity.String(),
		"this identity is not that of an admin")
}

// guard lets only those through who have access.
func (s *Server) guard(a access) huma.Middlewares {
	return huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
		if err := a.check(callerOf(ctx.Context())); err != nil {
			r, w := humago.Unwrap(ctx)
			s.refuse(w, r, err)
			return
		}
		next(ctx)
	}}
}
