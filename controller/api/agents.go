package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/warren-mesh/warren/peers/wire"
)

func (s *Server) agentRoutes() {
	agents := s.backend.Agents
	add(s, operation{
		"leave", http.MethodPost, wire.PathLeave,
		"Remove the host that makes the request", forStrangers, http.StatusNoContent,
	}, func(ctx context.Context, _ *nothing) (*nothing, error) {
		return &nothing{}, agents.Leave(ctx, callerOf(ctx))
	})
	s.mux.HandleFunc(http.MethodPost+" "+wire.PathStream, s.stream)
	s.describeStream()
}

// describeStream writes down what huma cannot know: both bodies of a stream are endless. It does not run
// through huma, which is made for requests that end, and would cost each of a thousand streams some KiB
// of stack.
func (s *Server) describeStream() {
	doc := s.huma.OpenAPI()
	lines := func(t reflect.Type) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{wire.MediaStream: {Schema: doc.Components.Schemas.Schema(t, true, t.Name())}}
	}
	doc.AddOperation(&huma.Operation{
		OperationID: "stream", Method: http.MethodPost, Path: wire.PathStream, Summary: "Hold the stream of an agent",
		Description: "For " + string(forStrangers) + ", over HTTP/2 only. Both bodies are endless, with one JSON value " +
			"on each line; the first one of the agent is a hello.",
		RequestBody: &huma.RequestBody{Required: true, Content: lines(reflect.TypeFor[wire.Up]())},
		Responses: map[string]*huma.Response{
			"200":     {Description: "Messages", Content: lines(reflect.TypeFor[wire.Down]())},
			"default": faultResponse(doc),
		},
	})
}

// stream serves an agent on its own request, in both directions at once.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	caller := callerOf(r.Context())
	if err := forStrangers.check(caller); err != nil {
		s.refuse(w, r, err)
		return
	}
	if r.ProtoMajor < 2 {
		s.refuse(w, r, faultf(http.StatusHTTPVersionNotSupported, "http2-needed", "upgrade warren-agent on this host",
			"a stream needs HTTP/2, not %s", r.Proto))
		return
	}
	w.Header().Set("Content-Type", wire.MediaStream)
	p := &pipe{body: r.Body, w: w, control: http.NewResponseController(w)}
	defer p.done()
	err := s.backend.Agents.Stream(r.Context(), caller, p)
	if err == nil || p.begun || r.Context().Err() != nil {
		return // the agent has been told, or is gone
	}
	s.refuse(w, r, err)
}

// A pipe is the Pipe of one HTTP/2 request.
type pipe struct {
	body    io.Reader
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool

	mu    sync.Mutex // against Cut after the request is over, when control must not be touched
	ended bool
}

// Read reads from the agent.
func (p *pipe) Read(b []byte) (int, error) { return p.body.Read(b) }

// Write writes to the agent.
func (p *pipe) Write(b []byte) (int, error) {
	p.begun = true
	return p.w.Write(b)
}

// Flush sends what was written.
func (p *pipe) Flush() error { return p.control.Flush() }

// Cut resets the request's stream: net/http does that at once for a deadline that is over.
func (p *pipe) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	past := time.Unix(1, 0)
	_ = errors.Join(p.control.SetReadDeadline(past), p.control.SetWriteDeadline(past)) // HTTP/2 has both
}

// done marks the end of the request: net/http takes its things back and must not be called any more.
func (p *pipe) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}
