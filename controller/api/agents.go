package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/warren-mesh/warren/peers/wire"
)

func (s *Server) agentRoutes() {
	agents := s.backend.Agents
	add(s, operation{"leave", http.MethodPost, wire.PathLeave, "Remove the host that makes the request", forStrangers, http.StatusNoContent},
		func(ctx context.Context, _ *nothing) (*nothing, error) {
			return &nothing{}, agents.Leave(ctx, callerOf(ctx))
		})
	add(s, operation{"stream", http.MethodPost, wire.PathStream, "Hold the stream of an agent", forStrangers, 0},
		func(context.Context, *nothing) (*huma.StreamResponse, error) {
			return &huma.StreamResponse{Body: s.stream}, nil
		})
}

// stream serves an agent on its own request, in both directions at once.
func (s *Server) stream(ctx huma.Context) {
	r, w := humago.Unwrap(ctx)
	if r.ProtoMajor < 2 {
		s.refuse(w, r, faultf(http.StatusHTTPVersionNotSupported, "http2-needed", "upgrade warren-agent on this host",
			"a stream needs HTTP/2, not %s", r.Proto))
		return
	}
	w.Header().Set("Content-Type", wire.MediaStream)
	p := &pipe{body: r.Body, w: w, control: http.NewResponseController(w)}
	defer p.done()
	err := s.backend.Agents.Stream(r.Context(), callerOf(r.Context()), p)
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

func (p *pipe) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
}
