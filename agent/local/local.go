// Package local is the agent's API on its unix socket, for the people on the host: HTTP with JSON, errors as
// problem details, long answers as one JSON value on each line. Who may do what is decided by the
// credentials that the kernel vouches for. It knows HTTP and nothing of tunnels.
package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/warren-mesh/warren/peers/wire"
)

// Host is what the API is about.
type Host interface {
	Status(ctx context.Context) (wire.Status, error)
	// Ping ends with a summary. A *wire.Fault as error says why it has not worked.
	Ping(ctx context.Context, host string, count int, each func(wire.PingReply)) error
	Doctor(ctx context.Context) ([]wire.Finding, error)
	// WriteMetrics writes figures in the text format of Prometheus.
	WriteMetrics(ctx context.Context, w io.Writer) error
}

// Member makes the host one of a mesh, and ends that. Both tell each step; a *wire.Fault as error says why it has
// not worked.
type Member interface {
	Enroll(ctx context.Context, order wire.LocalEnroll, tell func(wire.Progress)) error
	Leave(ctx context.Context, order wire.LocalLeave, tell func(wire.Progress)) error
}

// Guard is what the host lets in from the mesh.
type Guard interface {
	Flows(ctx context.Context) (wire.FlowReport, error)
}

// Rights are what the process at the other end may do.
type Rights struct {
	Read, Write bool
}

const (
	maxBody      = 64 << 10
	maxHeader    = 16 << 10
	headerWithin = 5 * time.Second
	idleFor      = time.Minute
	usualCount   = 5
	mediaMetrics = "text/plain; version=0.0.4; charset=utf-8" // of Prometheus
	groupsHint   = "as root, or as a member of the group "
)

// A Server serves the API.
type Server struct {
	host   Host
	member Member
	guard  Guard
	log    *slog.Logger
	rights func(net.Conn) (Rights, error)
}

// New makes a server. rights asks the kernel who is at the other end of a connection.
func New(host Host, member Member, guard Guard, log *slog.Logger, rights func(net.Conn) (Rights, error)) *Server {
	return &Server{host: host, member: member, guard: guard, log: log, rights: rights}
}

type rightsKey struct{}

// Serve serves until ctx ends, and then gives requests that are under way a moment.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	// Requests outlive ctx by the moment that Shutdown gives them.
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	server := &http.Server{
		Handler: s.routes(), ReadHeaderTimeout: headerWithin, IdleTimeout: idleFor, MaxHeaderBytes: maxHeader,
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return base },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			r, err := s.rights(conn)
			if err != nil {
				s.log.Warn("who connects to the socket is not known", "error", err)
			}
			return context.WithValue(ctx, rightsKey{}, r)
		},
	}
	ended := make(chan struct{})
	end := context.AfterFunc(ctx, func() {
		defer close(ended)
		stop()
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(within) != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(l)
	if !end() {
		<-ended
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the local API: %w", err)
	}
	return nil
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.PathStatus, s.read(s.status))
	mux.HandleFunc("POST "+wire.PathLocalEnroll, s.write(s.enroll))
	mux.HandleFunc("POST "+wire.PathLocalLeave, s.write(s.leave))
	mux.HandleFunc("GET "+wire.PathPing, s.read(s.ping))
	mux.HandleFunc("GET "+wire.PathDoctor, s.read(s.doctor))
	mux.HandleFunc("GET "+wire.PathLocalMetrics, s.read(s.metrics))
	mux.HandleFunc("GET "+wire.PathFlows, s.read(s.flows))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, wire.NewFault(http.StatusNotFound, "not-found", "there is no "+r.Method+" "+r.URL.Path,
			"are warren and warren-agent of the same version? compare: warren version, warren-agent --version"))
	})
	return mux
}

// read lets through who may look.
func (s *Server) read(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if rights, _ := r.Context().Value(rightsKey{}).(Rights); !rights.Read && !rights.Write {
			refuse(w, wire.NewFault(http.StatusForbidden, "forbidden", "you may not look at this agent",
				groupsHint+"warren: sudo usermod -aG warren $USER"))
			return
		}
		next(w, r)
	}
}

// write lets through who may change something.
func (s *Server) write(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if rights, _ := r.Context().Value(rightsKey{}).(Rights); !rights.Write {
			refuse(w, wire.NewFault(http.StatusForbidden, "forbidden", "you may not change this host",
				groupsHint+"warren-admin: sudo warren …"))
			return
		}
		next(w, r)
	}
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	status, err := s.host.Status(r.Context())
	answer(w, status, err)
}

func (s *Server) flows(w http.ResponseWriter, r *http.Request) {
	report, err := s.guard.Flows(r.Context())
	answer(w, report, err)
}

func (s *Server) doctor(w http.ResponseWriter, r *http.Request) {
	findings, err := s.host.Doctor(r.Context())
	if findings == nil {
		findings = []wire.Finding{}
	}
	answer(w, findings, err)
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	if err := s.host.WriteMetrics(r.Context(), &b); err != nil {
		refuse(w, faultOf(err))
		return
	}
	w.Header().Set("Content-Type", mediaMetrics)
	_, _ = w.Write(b.Bytes()) // to somebody who may be gone by now
}

func (s *Server) enroll(w http.ResponseWriter, r *http.Request) {
	change(w, r, "enrolment", s.member.Enroll)
}

func (s *Server) leave(w http.ResponseWriter, r *http.Request) {
	change(w, r, "order to leave", s.member.Leave)
}

// change takes an order and tells how it is carried out.
func change[V any](
	w http.ResponseWriter, r *http.Request, what string, do func(context.Context, V, func(wire.Progress)) error,
) {
	var order V
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&order); err != nil {
		refuse(w, badRequest("the request is no "+what+": "+err.Error()))
		return
	}
	out := newStream(w)
	if err := do(r.Context(), order, func(p wire.Progress) { out.send(p) }); err != nil {
		out.send(wire.Progress{Fault: faultOf(err)})
	}
}

func (s *Server) ping(w http.ResponseWriter, r *http.Request) {
	count := usualCount
	if text := r.URL.Query().Get("count"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			refuse(w, badRequest("count must be a number from 1"))
			return
		}
		count = n
	}
	host := r.URL.Query().Get("host")
	if host == "" {
		refuse(w, badRequest("which host? the parameter host is missing"))
		return
	}
	out := newStream(w)
	if err := s.host.Ping(r.Context(), host, count, func(p wire.PingReply) { out.send(p) }); err != nil {
		out.send(wire.PingReply{Fault: faultOf(err)})
	}
}

func badRequest(detail string) *wire.Fault {
	return wire.NewFault(http.StatusBadRequest, "bad-request", detail, "warren --help")
}

// faultOf is an error as the API tells it.
func faultOf(err error) *wire.Fault {
	if f, ok := errors.AsType[*wire.Fault](err); ok {
		return f
	}
	return wire.NewFault(http.StatusServiceUnavailable, "agent", err.Error(), "journalctl -u warren-agent")
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		refuse(w, faultOf(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	writeJSON(w, v)
}

func refuse(w http.ResponseWriter, f *wire.Fault) {
	w.Header().Set("Content-Type", wire.MediaProblem)
	w.WriteHeader(f.Status)
	writeJSON(w, f)
}

// writeJSON writes to somebody who may be gone by now, which is no concern of ours.
func writeJSON(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

// A stream is an answer that grows line by line.
type stream struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", wire.MediaStream)
	w.WriteHeader(http.StatusOK)
	s := &stream{w: w, c: http.NewResponseController(w)}
	_ = s.c.Flush()
	return s
}

func (s *stream) send(v any) {
	writeJSON(s.w, v)
	_ = s.c.Flush()
}
