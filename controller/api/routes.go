package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/warren-mesh/warren/peers/wire"
)

// In and out of huma's handlers: a path parameter, a body, both, and a body that comes back.
type (
	nothing struct{}
	named   struct {
		Name string `path:"name" maxLength:"64"`
	}
	request[T any] struct{ Body T }
	answer[T any]  struct{ Body T }
)

func reply[T any](v T) *answer[T] { return &answer[T]{Body: v} }

// An operation is a route with who may use it.
type operation struct {
	id, method, path, summary string
	access                    access
	status                    int // 0 for 200
}

// add registers a handler. Its errors become faults.
func add[I, O any](s *Server, op operation, handle func(context.Context, *I) (*O, error)) {
	huma.Register(s.huma, huma.Operation{
		OperationID: op.id, Method: op.method, Path: op.path, Summary: op.summary,
		Description: "For " + string(op.access) + ".", DefaultStatus: op.status,
		MaxBodyBytes: op.largest(), BodyReadTimeout: bodyTimeout, Middlewares: s.guard(op.access),
		Responses: map[string]*huma.Response{"default": faultResponse(s.huma.OpenAPI())},
	}, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, newProblem(s.fault(ctx, err))
		}
		return out, nil
	})
}

func (s *Server) routes() {
	s.tokenRoutes()
	s.hostRoutes()
	s.meshRoutes()
	s.rotationRoutes()
	s.policyRoutes()
	s.siteRoutes()
	s.declaredRoutes()
	s.adminRoutes()
	s.auditRoutes()
	s.scheduleRoutes()
	s.metricsRoute()
	s.enrolRoutes()
	s.agentRoutes()
}

func (s *Server) tokenRoutes() {
	tokens := s.backend.Tokens
	add(s, operation{
		"list-tokens", http.MethodGet, wire.PathTokens,
		"List enrolment tokens", forReaders, 0,
	}, func(context.Context, *nothing) (*answer[[]wire.TokenView], error) { return reply(tokens.Tokens()), nil })
	add(s, operation{
		"create-token", http.MethodPost, wire.PathTokens,
		"Create an enrolment token", forAdmins, http.StatusCreated,
	}, func(ctx context.Context, in *request[wire.TokenOrder]) (*answer[wire.TokenView], error) {
		v, err := tokens.CreateToken(ctx, callerOf(ctx).Name, in.Body)
		return reply(v), err
	})
	add(s, operation{
		"revoke-token", http.MethodDelete, wire.PathTokens + "/{name}",
		"Make a token useless", forAdmins, http.StatusNoContent,
	}, func(ctx context.Context, in *named) (*nothing, error) {
		return &nothing{}, tokens.RevokeToken(ctx, callerOf(ctx).Name, in.Name)
	})
}

func (s *Server) hostRoutes() {
	hosts := s.backend.Hosts
	type order struct {
		Name   string           `path:"name" maxLength:"64"`
		Action string           `path:"action" enum:"approve,suspend,resume,revoke,rekey,drain,undrain"`
		Body   *wire.HostAction `required:"false"`
	}
	one := wire.PathHosts + "/{name}"
	add(s, operation{
		"list-hosts", http.MethodGet, wire.PathHosts,
		"List hosts", forReaders, 0,
	}, func(context.Context, *nothing) (*answer[[]wire.HostView], error) { return reply(hosts.Hosts()), nil })
	add(s, operation{
		"show-host", http.MethodGet, one,
		"Show a host", forReaders, 0,
	}, func(_ context.Context, in *named) (*answer[wire.HostView], error) {
		v, err := hosts.Host(in.Name)
		return reply(v), err
	})
	add(s, operation{
		"set-host", http.MethodPost, one + "/{action}",
		"Approve, suspend, resume, revoke or drain a host, or ask it for a new identity", forAdmins, 0,
	}, func(ctx context.Context, in *order) (*answer[wire.HostView], error) {
		o := HostOrder{Name: in.Name, Action: in.Action}
		if in.Body != nil {
			o.Why = in.Body.Why
		}
		v, err := hosts.SetHost(ctx, callerOf(ctx).Name, o)
		return reply(v), err
	})
	add(s, operation{
		"remove-host", http.MethodDelete, one,
		"Remove a host", forAdmins, http.StatusNoContent,
	}, func(ctx context.Context, in *named) (*nothing, error) {
		return &nothing{}, hosts.RemoveHost(ctx, callerOf(ctx).Name, in.Name)
	})
}

func (s *Server) meshRoutes() {
	mesh := s.backend.Mesh
	add(s, operation{
		"show-mesh", http.MethodGet, wire.PathMesh,
		"Show the mesh", forReaders, 0,
	}, func(context.Context, *nothing) (*answer[wire.MeshView], error) { return reply(mesh.Mesh()), nil })
	add(s, operation{
		"rekey-mesh", http.MethodPost, wire.PathMeshRekey,
		"Give the controller another identity", forAdmins, 0,
	}, func(ctx context.Context, in *request[wire.MeshRekey]) (*answer[wire.MeshView], error) {
		v, err := mesh.RekeyMesh(ctx, callerOf(ctx).Name, in.Body)
		return reply(v), err
	})
	add(s, operation{
		"set-mesh", http.MethodPatch, wire.PathMesh,
		"Change settings of the mesh", forAdmins, 0,
	}, func(ctx context.Context, in *request[wire.MeshSettings]) (*answer[wire.MeshView], error) {
		v, err := mesh.SetMesh(ctx, callerOf(ctx).Name, in.Body)
		return reply(v), err
	})
}

func (s *Server) rotationRoutes() {
	rotation := s.backend.Rotation
	add(s, operation{
		"show-rotation", http.MethodGet, wire.PathRotation,
		"Show how far the rotation is", forReaders, 0,
	}, func(context.Context, *nothing) (*answer[wire.RotationView], error) {
		return reply(rotation.Rotation()), nil
	})
	add(s, operation{
		"rotate", http.MethodPost, wire.PathRotation,
		"Begin to move all hosts to new keys", forAdmins, http.StatusAccepted,
	}, func(ctx context.Context, in *request[wire.RotationOrder]) (*answer[wire.RotationView], error) {
		v, err := rotation.Rotate(ctx, callerOf(ctx).Name, in.Body)
		return reply(v), err
	})
	add(s, operation{
		"abort-rotation", http.MethodPost, wire.PathRotationAbort,
		"Give the rotation up that runs, before any traffic has moved", forAdmins, http.StatusAccepted,
	}, func(ctx context.Context, in *request[wire.RotationAbort]) (*answer[wire.RotationView], error) {
		v, err := rotation.AbortRotation(ctx, callerOf(ctx).Name, in.Body)
		return reply(v), err
	})
}

func (s *Server) adminRoutes() {
	admins := s.backend.Admins
	add(s, operation{
		"list-admins", http.MethodGet, wire.PathAdmins,
		"List admins", forReaders, 0,
	}, func(context.Context, *nothing) (*answer[[]wire.AdminView], error) { return reply(admins.Admins()), nil })
	add(s, operation{
		"add-admin", http.MethodPost, wire.PathAdmins,
		"Let somebody administer the mesh from elsewhere", forAdmins, http.StatusCreated,
	}, func(ctx context.Context, in *request[wire.AdminView]) (*answer[wire.AdminView], error) {
		v, err := admins.AddAdmin(ctx, callerOf(ctx).Name, in.Body)
		return reply(v), err
	})
	add(s, operation{
		"remove-admin", http.MethodDelete, wire.PathAdmins + "/{name}",
		"Take that back", forAdmins, http.StatusNoContent,
	}, func(ctx context.Context, in *named) (*nothing, error) {
		return &nothing{}, admins.RemoveAdmin(ctx, callerOf(ctx).Name, in.Name)
	})
}

func (s *Server) enrolRoutes() {
	enrol := s.backend.Enrolment
	add(s, operation{
		"check-token", http.MethodPost, wire.PathEnrollCheck,
		"Ask what a token would lead to", forStrangers, 0,
	}, func(ctx context.Context, in *request[wire.EnrollCheck]) (*answer[wire.EnrollOffer], error) {
		v, err := enrol.CheckToken(callerOf(ctx), in.Body)
		return reply(v), err
	})
	add(s, operation{
		"enroll", http.MethodPost, wire.PathEnroll,
		"Enrol the host that makes the request", forStrangers, 0,
	}, func(ctx context.Context, in *request[wire.EnrollRequest]) (*answer[wire.Enrolled], error) {
		v, err := enrol.Enroll(ctx, callerOf(ctx), in.Body)
		return reply(v), err
	})
}
