package api

import (
	"context"
	"net/http"

	"github.com/warren-mesh/warren/peers/wire"
)

// maxDeclared is how large all that is declared may be, as JSON.
const maxDeclared = 4 << 20

const setDeclared = "set-declared"

// Declared is what admins say of the mesh, and what of it waits to be confirmed.
type Declared interface {
	Declared() wire.DeclaredView
	SetDeclared(ctx context.Context, by string, order wire.DeclaredOrder) (wire.DeclaredResult, error)
	Pending() *wire.Pending
	EndPending(ctx context.Context, by, action string) (wire.MeshView, error)
}

func (s *Server) declaredRoutes() {
	declared := s.backend.Declared
	type end struct {
		Action string `path:"action" enum:"confirm,revert"`
	}
	add(s, operation{
		id: "show-declared", method: http.MethodGet, path: wire.PathDeclared,
		summary: "Show all that is said of the mesh", access: forReaders,
	}, func(context.Context, *nothing) (*answer[wire.DeclaredView], error) {
		return reply(declared.Declared()), nil
	})
	add(s, operation{
		id: setDeclared, method: http.MethodPut, path: wire.PathDeclared,
		summary: "Make the mesh what is said of it, or tell what would come of it", access: forAdmins,
	}, func(ctx context.Context, in *request[wire.DeclaredOrder]) (*answer[wire.DeclaredResult], error) {
		v, err := declared.SetDeclared(ctx, callerOf(ctx).Name, in.Body)
		return reply(v), err
	})
	add(s, operation{
		id: "show-graph", method: http.MethodGet, path: wire.PathGraph,
		summary: "Show sites, hosts and the links between them", access: forReaders,
	}, func(context.Context, *nothing) (*answer[wire.Graph], error) {
		return reply(s.backend.Mesh.Graph()), nil
	})
	add(s, operation{
		id: "show-pending", method: http.MethodGet, path: wire.PathPending,
		summary: "Show the change that waits to be confirmed", access: forReaders,
	}, func(context.Context, *nothing) (*answer[*wire.Pending], error) {
		return reply(declared.Pending()), nil
	})
	add(s, operation{
		id: "end-pending", method: http.MethodPost, path: wire.PathPending + "/{action}",
		summary: "Let the change stay that waits to be confirmed, or take it back", access: forAdmins,
	}, func(ctx context.Context, in *end) (*answer[wire.MeshView], error) {
		v, err := declared.EndPending(ctx, callerOf(ctx).Name, in.Action)
		return reply(v), err
	})
}
