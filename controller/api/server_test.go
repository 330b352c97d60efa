package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warren-mesh/warren/controller/api"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/pin"
	"github.com/warren-mesh/warren/peers/wire"
)

// stub is a backend that answers with nothing, or with an error.
type stub struct {
	err    error
	stream func(ctx context.Context, who api.Caller, pipe api.Pipe) error
}

func (b stub) CreateToken(context.Context, string, wire.TokenOrder) (wire.TokenView, error) {
	return wire.TokenView{}, b.err
}
func (b stub) Tokens() []wire.TokenView                          { return []wire.TokenView{} }
func (b stub) RevokeToken(context.Context, string, string) error { return b.err }
func (b stub) Hosts() []wire.HostView                            { return []wire.HostView{} }
func (b stub) Host(string) (wire.HostView, error)                { return wire.HostView{}, b.err }
func (b stub) SetHost(context.Context, string, api.HostOrder) (wire.HostView, error) {
	return wire.HostView{}, b.err
}
func (b stub) RemoveHost(context.Context, string, string) error { return b.err }
func (b stub) Mesh() wire.MeshView                              { return wire.MeshView{} }
func (b stub) SetMesh(context.Context, string, wire.MeshSettings) (wire.MeshView, error) {
	return wire.MeshView{}, b.err
}

func (b stub) RekeyMesh(context.Context, string, wire.MeshRekey) (wire.MeshView, error) {
	return wire.MeshView{}, b.err
}

func (b stub) Declared() wire.DeclaredView { return wire.DeclaredView{} }
func (b stub) SetDeclared(context.Context, string, wire.DeclaredOrder) (wire.DeclaredResult, error) {
	return wire.DeclaredResult{}, b.err
}
func (b stub) Graph() wire.Graph      { return wire.Graph{} }
func (b stub) Pending() *wire.Pending { return nil }
func (b stub) EndPending(context.Context, string, string) (wire.MeshView, error) {
	return wire.MeshView{}, b.err
}

func (b stub) Policy() wire.PolicyView { return wire.PolicyView{} }
func (b stub) SetPolicy(context.Context, string, wire.PolicyOrder) (wire.PolicyResult, error) {
	return wire.PolicyResult{}, b.err
}

func (b stub) ChangeHost(context.Context, string, string, wire.HostChange) (wire.HostResult, error) {
	return wire.HostResult{}, b.err
}
func (b stub) Sites() []wire.SiteView { return []wire.SiteView{} }
func (b stub) AddSite(context.Context, string, wire.SiteOrder) (wire.SiteResult, error) {
	return wire.SiteResult{}, b.err
}

func (b stub) SetSite(context.Context, string, wire.SiteOrder) (wire.SiteResult, error) {
	return wire.SiteResult{}, b.err
}

func (b stub) RemoveSite(context.Context, string, wire.SiteRemovalOrder) (wire.SiteRemoval, error) {
	return wire.SiteRemoval{}, b.err
}

func (b stub) Admins() []wire.AdminView { return []wire.AdminView{} }
func (b stub) AddAdmin(context.Context, string, wire.AdminView) (wire.AdminView, error) {
	return wire.AdminView{}, b.err
}
func (b stub) RemoveAdmin(context.Context, string, string) error { return b.err }
func (b stub) AdminWith(key.Identity) (string, bool)             { return "", false }
func (b stub) WriteMetrics(w io.Writer)                          { fmt.Fprintln(w, "warren_up 1") }
func (b stub) Schedule() wire.ScheduleView                       { return wire.ScheduleView{} }

func (b stub) SetSchedule(context.Context, string, wire.ScheduleOrder) (wire.ScheduleView, error) {
	return wire.ScheduleView{}, b.err
}

func (b stub) DropSchedule(context.Context, string) (wire.ScheduleView, error) {
	return wire.ScheduleView{}, b.err
}

func (b stub) Audit(context.Context, api.AuditQuery) (wire.AuditPage, error) {
	return wire.AuditPage{}, b.err
}

func (b stub) VerifyLedger(_ context.Context, tell func(wire.AuditProgress) error) error {
	if b.err != nil {
		return b.err
	}
	return tell(wire.AuditProgress{Done: true})
}

func (b stub) CheckToken(api.Caller, wire.EnrollCheck) (wire.EnrollOffer, error) {
	return wire.EnrollOffer{}, b.err
}

func (b stub) Enroll(context.Context, api.Caller, wire.EnrollRequest) (wire.Enrolled, error) {
	return wire.Enrolled{}, b.err
}

func (b stub) Stream(ctx context.Context, who api.Caller, pipe api.Pipe) error {
	if b.stream == nil {
		return b.err
	}
	return b.stream(ctx, who, pipe)
}
func (b stub) Leave(context.Context, api.Caller) error { return b.err }

// server is one with a stub behind it.
type server struct{ *api.Server }

func newServer(t *testing.T, b stub) server {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	return server{api.New(api.Backend{
		Tokens: b, Hosts: b, Mesh: b, Policies: b, Sites: b, Admins: b, Audit: b, Schedule: b, Metrics: b,
		Enrolment: b, Agents: b,
	}, log)}
}

func everybody(net.Conn) (api.Caller, error) {
	return api.Caller{Name: "unix:tester", Read: true, Write: true}, nil
}

// local makes a request as it comes over the unix socket.
func (s server) local(t *testing.T, method, path string, body io.Reader) *http.Request {
	t.Helper()
	ctx := s.Local(everybody).ConnContext(t.Context(), nil)
	r := httptest.NewRequestWithContext(ctx, method, path, body)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// listen serves over TLS and gives the address and the identity of the server.
func (s server) listen(t *testing.T) (string, key.Identity) {
	t.Helper()
	id, cert := identity(t)
	var lc net.ListenConfig
	raw, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := s.Remote()
	go func() { _ = srv.Serve(api.NewListener(raw, cert, slog.New(slog.DiscardHandler))) }()
	t.Cleanup(func() { _ = srv.Close() })
	return raw.Addr().String(), id
}

func identity(t *testing.T) (key.Identity, tls.Certificate) {
	t.Helper()
	k, err := key.NewIdentityKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pin.Certificate(rand.Reader, k.Signer())
	if err != nil {
		t.Fatal(err)
	}
	return k.Identity(), cert
}

// get makes a request with a TLS configuration, without anything from an earlier one.
func get(t *testing.T, cfg *tls.Config, address, path string) (*http.Response, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: cfg, ForceAttemptHTTP2: true,
		DisableKeepAlives: true,
	}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err == nil {
		t.Cleanup(func() { _ = resp.Body.Close() })
	}
	return resp, err
}

func TestTLS(t *testing.T) {
	address, id := newServer(t, stub{}).listen(t)
	_, cert := identity(t)
	resp, err := get(t, pin.Client(cert, id[:]), address, "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	state := resp.TLS
	if state.CurveID != tls.X25519MLKEM768 || state.Version != tls.VersionTLS13 || state.NegotiatedProtocol != "h2" ||
		resp.StatusCode != 200 {
		t.Errorf("curve %v, version %x, protocol %q, status %d", state.CurveID, state.Version, state.NegotiatedProtocol,
			resp.StatusCode)
	}
	other, _ := identity(t)
	if _, err := get(t, pin.Client(cert, other[:]), address, "/"); !errors.Is(err, pin.ErrPin) {
		t.Errorf("a client that pins another controller: %v, want ErrPin", err)
	}
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.2": func(c *tls.Config) {
			c.MinVersion, c.MaxVersion = tls.VersionTLS12,
				tls.VersionTLS12
		},
		"no certificate":                func(c *tls.Config) { c.Certificates = nil },
		"certificate of another kind":   func(c *tls.Config) { c.Certificates = []tls.Certificate{ecdsaCertificate(t)} },
		"key exchange without ML-KEM":   func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} },
		"key exchange over NIST curves": func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} },
	} {
		cfg := pin.Client(cert, id[:])
		change(cfg)
		if resp, err := get(t, cfg, address, "/v1/openapi.json"); err == nil {
			t.Errorf("%s: got %s, want no connection", name, resp.Status)
		}
	}
}

func ecdsaCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"},
		NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}
}

// TestSilentConnections holds that connections which never speak TLS do not keep others out.
func TestSilentConnections(t *testing.T) {
	address, id := newServer(t, stub{}).listen(t)
	for range 200 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	_, cert := identity(t)
	start := time.Now()
	if _, err := get(t, pin.Client(cert, id[:]), address, "/v1/openapi.json"); err != nil ||
		time.Since(start) > time.Second {
		t.Errorf("beside silent connections: %v after %v", err, time.Since(start))
	}
}

// countingBody is an endless body that counts what is taken of it.
type countingBody struct {
	limit, taken atomic.Int64
}

func (b *countingBody) Read(p []byte) (int, error) {
	if b.taken.Add(int64(len(p))) > b.limit.Load() {
		return 0, io.EOF
	}
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestHugeBody(t *testing.T) {
	address, id := newServer(t, stub{}).listen(t)
	_, cert := identity(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: pin.Client(cert, id[:]), ForceAttemptHTTP2: true}}
	body := &countingBody{}
	body.limit.Store(100 << 20)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+wire.PathEnroll, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	start := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var f wire.Fault
	if err := json.NewDecoder(resp.Body).Decode(&f); err != nil || f.Code != "request-too-large" ||
		resp.StatusCode != 413 {
		t.Errorf("got %s %+v %v", resp.Status, f, err)
	}
	if took, sent := time.Since(start), body.taken.Load(); took > 2*time.Second || sent > 2<<20 {
		t.Errorf("%d bytes in %v were taken before the answer", sent, took)
	}
}

func TestHugeHeader(t *testing.T) {
	address, id := newServer(t, stub{}).listen(t)
	_, cert := identity(t)
	resp, err := get(t, pin.Client(cert, id[:]), address, "/v1/"+strings.Repeat("x", 1<<20))
	if err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 1 MiB: %s", resp.Status)
	}
}

// TestSlowBody holds that a client which does not send what it has announced does not hold a request for
// ever.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	address, id := newServer(t, stub{}).listen(t)
	_, cert := identity(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: pin.Client(cert, id[:]), ForceAttemptHTTP2: true}}
	body, feed := io.Pipe()
	go func() { _, _ = feed.Write([]byte(`{"proto`)) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+wire.PathEnroll, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	start := time.Now()
	resp, err := client.Do(req)
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("got %s", resp.Status)
		}
	}
	if took := time.Since(start); took < time.Second || took > 8*time.Second {
		t.Errorf("a slow client held its request for %v", took)
	}
}

func TestStreamNeedsHTTP2(t *testing.T) {
	address, id := newServer(t, stub{}).listen(t)
	_, cert := identity(t)
	cfg := pin.Client(cert, id[:])
	cfg.NextProtos = []string{"http/1.1"}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+wire.PathStream,
		strings.NewReader("{}\n"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var f wire.Fault
	if err := json.NewDecoder(resp.Body).Decode(&f); err != nil || f.Code != "http2-needed" {
		t.Errorf("got %s %+v %v", resp.Status, f, err)
	}
}

// TestCut holds that a stream ends when it is cut, however it hangs, and that Cut is harmless afterwards.
func TestCut(t *testing.T) {
	pipes := make(chan api.Pipe, 1)
	ended := make(chan error, 1)
	b := stub{stream: func(_ context.Context, _ api.Caller, p api.Pipe) error {
		_, _ = p.Write([]byte("{}\n"))
		_ = p.Flush()
		pipes <- p
		_, err := p.Read(make([]byte, 1))
		ended <- err
		return err
	}}
	address, id := newServer(t, b).listen(t)
	_, cert := identity(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: pin.Client(cert, id[:]), ForceAttemptHTTP2: true}}
	body, feed := io.Pipe()
	t.Cleanup(func() { _ = feed.Close() })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+wire.PathStream, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	p := <-pipes
	p.Cut()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("reading from a stream that was cut gave no error")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("a stream that was cut goes on")
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the client saw a regular end")
	}
	p.Cut()
}

// TestFaults goes through the kinds of errors of a backend.
func TestFaults(t *testing.T) {
	problems := peers.Problems{
		{Code: "name-taken", At: "host/a", Message: "taken", Hint: "another"},
		{Code: "x", Message: "y"},
	}
	busy := wire.NewFault(503, "busy", "busy", "later")
	busy.RetryAfter = 3
	for _, c := range []struct {
		err        error
		status     int
		code, more string
	}{
		{problems, 409, "name-taken", `"problems":[{"code":"name-taken"`},
		{fmt.Errorf("wrapped: %w", problems), 409, "name-taken", `"hint":"another"`},
		{busy, 503, "busy", `"retry_after":3`},
		{errors.New("secret detail"), 500, "internal", `journalctl`},
	} {
		s := newServer(t, stub{err: c.err})
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, s.local(t, http.MethodPost, wire.PathTokens, strings.NewReader(`{"site":"shop"}`)))
		body := rec.Body.String()
		if rec.Code != c.status || !strings.Contains(body, `"code":"`+c.code+`"`) || !strings.Contains(body, c.more) ||
			rec.Header().Get("Content-Type") != wire.MediaProblem {
			t.Errorf("%v: %d %s %s", c.err, rec.Code, rec.Header().Get("Content-Type"), body)
		}
		if strings.Contains(body, "secret detail") {
			t.Errorf("an inner error is told: %s", body)
		}
		if c.status == 503 && rec.Header().Get("Retry-After") != "3" {
			t.Errorf("Retry-After is %q", rec.Header().Get("Retry-After"))
		}
	}
}

// TestRequestsThatAreNone holds that every refusal of the library has our shape, and repeats no value.
func TestRequestsThatAreNone(t *testing.T) {
	s := newServer(t, stub{})
	for _, c := range []struct {
		contentType, body string
		status            int
		code              string
	}{
		{"application/json", ``, 400, "request-invalid"},
		{"application/json", `{`, 400, "request-invalid"},
		{"application/json", `[]`, 422, "request-invalid"},
		{"application/json", `{"site":{"hush":"hush"}}`, 422, "request-invalid"},
		{"application/json", `{"site":"hush","ttl":"hush"}`, 422, "request-invalid"},
		{"text/plain", `{"site":"shop"}`, 415, "unsupported-media-type"},
	} {
		rec := httptest.NewRecorder()
		r := s.local(t, http.MethodPost, wire.PathTokens, strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.contentType)
		s.ServeHTTP(rec, r)
		var f wire.Fault
		if err := json.Unmarshal(rec.Body.Bytes(), &f); err != nil || rec.Code != c.status || f.Status != c.status ||
			f.Code != c.code || f.Detail == "" {
			t.Errorf("%s: %d %s, want %d %s", c.body, rec.Code, rec.Body, c.status, c.code)
		}
		if strings.Contains(rec.Body.String(), "hush") {
			t.Errorf("the answer repeats what was sent: %s", rec.Body)
		}
	}
}

func TestCallersWithoutCredentials(t *testing.T) {
	s := newServer(t, stub{})
	unknown := s.Local(func(net.Conn) (api.Caller, error) { return api.Caller{}, errors.New("no credentials") })
	ctx := unknown.ConnContext(t.Context(), nil)
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, wire.PathHosts, nil))
	if rec.Code != http.StatusInternalServerError {
		t.Errorf("a caller whom the kernel does not know: %d", rec.Code)
	}
	rec = httptest.NewRecorder()
	s.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, wire.PathHosts, nil))
	if rec.Code != http.StatusForbidden {
		t.Errorf("a caller without TLS: %d", rec.Code)
	}
}
