package api

import (
	"context"
	"net/http"

	"github.com/warren-mesh/warren/peers/wire"
)

// maxPolicy is how large a policy may be, as JSON.
const maxPolicy = 2 << 20

const setPolicy = "set-policy"

// Policies say who may talk to whom.
type Policies interface {
	Policy() wire.PolicyView
	SetPolicy(ctx context.Context, by string, order wire.PolicyOrder) (wire.PolicyResult, error)
	ChangeHost(ctx context.Context, by, name string, change wire.HostChange) (wire.HostResult, error)
}

// largest is how large a body may be.
func (op *operation) largest() int64 {
	switch op.id {
	case setPolicy:
		return maxPolicy
	case setDeclared:
		return maxDeclared
	}
	return maxBody
}

func (s *Server) policyRoutes() {
	policies := s.backend.Policies
	type change struct {
		Name string `path:"name" maxLength:"64"`
		Body wire.HostChange
	}
	add(s, operation{
		id: "show-policy", method: http.MethodGet, path: wire.PathPolicy,
		summary: "Show who may talk to whom", access: forReaders,
	}, func(context.Context, *nothing) (*answer[wire.PolicyView], error) {
		return reply(policies.Policy()), nil
	})
	add(s, operation{
		id: setPolicy, method: http.MethodPut, path: wire.PathPolicy,
		summary: "Say who may talk to whom, or what would come of it", access: forAdmins,
	}, func(ctx context.Context, in *request[wire.PolicyOrder]) (*answer[wire.PolicyResult], error) {
		v, err := policies.SetPolicy(ctx, callerOf(ctx).Name, in.Body)
		return reply(v), err
	})
	add(s, operation{
		id: "change-host", method: http.MethodPatch, path: wire.PathHosts + "/{name}",
		summary: "Give a host labels, and take some away, or what would come of it", access: forAdmins,
	}, func(ctx context.Context, in *change) (*answer[wire.HostResult], error) {
		v, err := policies.ChangeHost(ctx, callerOf(ctx).Name, in.Name, in.Body)
		return reply(v), err
	})
}
