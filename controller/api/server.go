package api

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/pin"
	"github.com/warren-mesh/warren/peers/wire"
)

// Limits of every connection and request.
const (
	maxHeader     = 16 << 10
	maxBody       = 256 << 10
	headerTimeout = 10 * time.Second
	bodyTimeout   = 5 * time.Second
	idleTimeout   = 2 * time.Minute
	// A connection on which nothing is heard for pingAfter is asked whether it lives, so that a host that
	// lost its power is offline within a minute.
	pingAfter   = 30 * time.Second
	pingTimeout = 15 * time.Second
	// writeTimeout is for an end that takes no byte at all.
	writeTimeout = 15 * time.Second
	maxRequests  = 16 // at once on one connection
	// answerTimeout is for an end that takes its answer too slowly.
	answerTimeout = time.Minute
)

// A Server serves a Backend.
type Server struct {
	backend Backend
	log     *slog.Logger
	mux     *http.ServeMux
	huma    huma.API
}

// New makes a server.
func New(b Backend, log *slog.Logger) *Server {
	s := &Server{backend: b, log: log, mux: http.NewServeMux()}
	s.huma = humago.New(s.mux, config())
	s.routes()
	s.correct()
	return s
}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 {
		// What is left of a body is read after this, and nobody may keep the connection by dawdling with it.
		defer func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) }()
	}
	caller, err := s.caller(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), callerKey{}, caller))
	if r.URL.Path != wire.PathStream {
		// One who asks and does not read the answer; streams have a watchdog of their own.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout)) // all real ones have it
	}
	if _, pattern := s.mux.Handler(r); pattern == "" {
		s.refuse(w, r, s.noRoute(r))
		return
	}
	s.mux.ServeHTTP(w, r)
}

type callerKey struct{}

func callerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// caller finds out who makes a request. It asks the inventory each time: an identity that is taken away
// is gone with the next request, whatever the connection.
func (s *Server) caller(r *http.Request) (Caller, error) {
	if local, ok := r.Context().Value(localKey{}).(localCaller); ok {
		return local.Caller, local.err
	}
	if r.TLS == nil {
		return Caller{}, faultf(http.StatusForbidden, "no-identity", "", "this connection does not say who makes it")
	}
	public, err := pin.PeerKey(*r.TLS)
	if err != nil {
		return Caller{}, faultf(http.StatusForbidden, "no-identity", "", "this connection does not say who makes it: %v", err)
	}
	c := Caller{Identity: key.Identity(public)}
	if c.From, err = netip.ParseAddrPort(r.RemoteAddr); err != nil {
		return Caller{}, err
	}
	if name, ok := s.backend.Admins.AdminWith(c.Identity); ok {
		c.Name, c.Read, c.Write = "admin:"+name, true, true
	}
	return c, nil
}

type localKey struct{}

type localCaller struct {
	Caller
	err error
}

// Local is the HTTP server for a unix socket. who tells from the credentials of a connection what its
// other end may do.
func (s *Server) Local(who func(net.Conn) (Caller, error)) *http.Server {
	srv := s.server()
	srv.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		caller, err := who(conn)
		return context.WithValue(ctx, localKey{}, localCaller{caller, err})
	}
	srv.ReadTimeout = time.Minute
	return srv
}

// Remote is the HTTP server for connections that a Listener has accepted.
func (s *Server) Remote() *http.Server {
	srv := s.server()
	srv.TLSConfig = nextProtocols()
	srv.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          maxRequests,
		MaxDecoderHeaderTableSize:     4 << 10,
		MaxEncoderHeaderTableSize:     4 << 10,
		MaxReadFrameSize:              16 << 10,
		MaxReceiveBufferPerConnection: 64 << 10,
		MaxReceiveBufferPerStream:     64 << 10,
		SendPingTimeout:               pingAfter,
		PingTimeout:                   pingTimeout,
		WriteByteTimeout:              writeTimeout,
	}
	return srv
}

// server has no WriteTimeout: it would end every stream. Single answers have a deadline of their own.
func (s *Server) server() *http.Server {
	return &http.Server{
		Handler:           s,
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}
