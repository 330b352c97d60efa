package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

func faultf(status int, code, hint, format string, args ...any) *wire.Fault {
	return wire.NewFault(status, code, fmt.Sprintf(format, args...), hint)
}

// problem is a fault on its way through huma, which knows errors by their status.
type problem struct {
	*huma.ErrorModel
	fault *wire.Fault
}

// newProblem makes the error that huma writes with the status, and the Retry-After, of a fault.
func newProblem(f *wire.Fault) error {
	p := &problem{ErrorModel: &huma.ErrorModel{Status: f.Status, Detail: f.Detail}, fault: f}
	if f.RetryAfter > 0 {
		return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {strconv.Itoa(f.RetryAfter)}})
	}
	return p
}

// Unwrap gives the fault.
func (p *problem) Unwrap() error { return p.fault }

// tellFaults makes every error that leaves huma, its own ones too, a fault.
func tellFaults(_ huma.Context, _ string, v any) (any, error) {
	switch e := v.(type) {
	case *problem:
		return e.fault, nil
	case *huma.ErrorModel:
		return faultOfHuma(e), nil
	}
	return v, nil
}

// faultOfHuma is a fault for a request that huma has refused: each thing that is wrong is a problem of
// its own, without the value that was sent, which may be a secret.
func faultOfHuma(e *huma.ErrorModel) *wire.Fault {
	f := faultf(e.Status, codeOf(e.Status), "", "%s", e.Detail)
	for _, d := range e.Errors {
		if d == nil {
			continue
		}
		at := strings.ReplaceAll(strings.TrimPrefix(d.Location, "body."), ".", "/")
		f.Problems = append(f.Problems, peers.Problem{Code: f.Code, At: at, Message: d.Message})
	}
	if len(f.Problems) > 0 {
		f.Detail = peers.Problems(f.Problems).Error()
	}
	switch e.Status {
	case http.StatusInternalServerError:
		f.Hint = "on the controller: journalctl -u warren-controller"
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		f.Hint = "what is expected: GET /v1/openapi.json"
	}
	return f
}

// codeOf is the stable code for what huma refuses by itself.
func codeOf(status int) string {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return "request-invalid"
	case http.StatusRequestEntityTooLarge:
		return "request-too-large"
	case http.StatusRequestTimeout:
		return "request-timeout"
	case http.StatusInternalServerError:
		return "internal"
	}
	return strings.ToLower(strings.ReplaceAll(http.StatusText(status), " ", "-"))
}

// fault is the answer for an error of the backend. What nobody has foreseen is logged here and not told.
func (s *Server) fault(ctx context.Context, err error) *wire.Fault {
	if f, ok := errors.AsType[*wire.Fault](err); ok {
		if f.Status >= http.StatusInternalServerError && f.RetryAfter == 0 {
			s.log.Error("request failed", "caller", callerOf(ctx).Name, "code", f.Code, "error", f.Detail)
		}
		return f
	}
	if ps, ok := errors.AsType[peers.Problems](err); ok && len(ps) > 0 {
		return wire.FaultOf(statusOf(ps[0].Code), ps)
	}
	if ctx.Err() == nil {
		s.log.Error("request failed", "caller", callerOf(ctx).Name, "error", err)
	}
	return faultf(http.StatusInternalServerError, "internal", "on the controller: journalctl -u warren-controller",
		"the controller failed: it says why in its log")
}

// statusOf is the HTTP status for a problem of a refused change.
func statusOf(code string) int {
	switch {
	case strings.HasSuffix(code, "-unknown"):
		return http.StatusNotFound
	case strings.HasPrefix(code, "token-") && code != "token-uses" && code != "token-ttl", code == "identity-revoked":
		return http.StatusForbidden
	case strings.HasSuffix(code, "-taken"), strings.HasSuffix(code, "-used"), strings.HasPrefix(code, "state-"),
		strings.HasSuffix(code, "-full"), code == "identity-enrolled":
		return http.StatusConflict
	}
	return http.StatusUnprocessableEntity
}

// refuse answers a request that does not get as far as huma, or has left it.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := s.fault(r.Context(), err)
	w.Header().Set("Content-Type", wire.MediaProblem)
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfter))
	}
	w.WriteHeader(f.Status)
	_ = json.NewEncoder(w).Encode(f) // an agent that is gone needs no answer
}

// noRoute tells a wrong path from a wrong method.
func (s *Server) noRoute(r *http.Request) error {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := s.mux.Handler(probe); pattern != "" {
			return faultf(http.StatusMethodNotAllowed, "method-not-allowed", "", "%s is not for %.80q", r.Method, r.URL.Path)
		}
	}
	return faultf(http.StatusNotFound, "path-unknown", "is the controller older than this program?",
		"the controller has nothing at %.80q", r.URL.Path)
}
