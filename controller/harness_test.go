package controller_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warren-mesh/warren/controller"
	"github.com/warren-mesh/warren/controller/api"
	"github.com/warren-mesh/warren/controller/ledger"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/pin"
	"github.com/warren-mesh/warren/peers/wire"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// A site is a controller with its servers, as the program puts them together.
type site struct {
	t      *testing.T
	db     *ledger.DB
	vault  controller.Vault // nil for that of the database
	c      *controller.Controller
	addr   string // of the TLS listener
	socket string
	rights atomic.Pointer[api.Caller] // of everybody on the socket
	log    *logBook
	stop   func()

	machines int
	now      func() time.Time // nil for the clock of the machine
}

// newSite starts a controller on a new database.
func newSite(t *testing.T) *site {
	t.Helper()
	return siteOn(t, newDB(t))
}

func newDB(t *testing.T) *ledger.DB {
	t.Helper()
	db, err := ledger.Open(filepath.Join(t.TempDir(), "warren.db"), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// siteOn starts a controller, which need not be the only one on the database.
func siteOn(t *testing.T, db *ledger.DB) *site {
	t.Helper()
	s := &site{t: t, db: db, log: &logBook{}}
	s.begin()
	return s
}

// begin starts the first controller of a site.
func (s *site) begin() {
	s.t.Helper()
	s.rights.Store(&api.Caller{Name: "unix:tester", Read: true, Write: true})
	s.start("127.0.0.1:0")
}

// start runs a controller on the database of the site.
func (s *site) start(listen string) {
	s.t.Helper()
	var lc net.ListenConfig
	raw, err := lc.Listen(s.t.Context(), "tcp", listen)
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = raw.Addr().String()
	log := slog.New(slog.NewTextHandler(s.log, nil))
	settings := controller.Settings{Advertise: []string{s.addr}, Version: "test", Now: s.now}
	vault := s.vault
	if vault == nil {
		vault = s.db
	}
	if s.c, err = controller.Open(s.t.Context(), s.db, vault, settings, log); err != nil {
		s.t.Fatal(err)
	}
	cert, err := pin.Certificate(rand.Reader, s.c.Identity().Signer())
	if err != nil {
		s.t.Fatal(err)
	}
	a := api.New(api.Backend{
		Tokens: s.c, Hosts: s.c, Mesh: s.c, Policies: s.c, Sites: s.c, Declared: s.c, Rotation: s.c, Admins: s.c, Audit: s.c,
		Schedule: s.c, Metrics: s.c,
		Enrolment: s.c, Agents: s.c,
	}, log)
	s.socket = filepath.Join(s.t.TempDir(), "s")
	local, err := lc.Listen(s.t.Context(), "unix", s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() {
		if err := s.c.Run(ctx); err != nil {
			s.t.Errorf("run: %v", err)
		}
	})
	serve := func(srv *http.Server, l net.Listener) {
		srv.BaseContext = func(net.Listener) context.Context { return ctx }
		tasks.Go(func() { _ = srv.Serve(l) })
		context.AfterFunc(ctx, func() { _ = srv.Close() })
	}
	serve(a.Local(func(net.Conn) (api.Caller, error) { return *s.rights.Load(), nil }), local)
	hosts := api.NewListener(raw, cert, log)
	s.c.OnRekey(func(k key.IdentityKey) {
		if cert, err := pin.Certificate(rand.Reader, k.Signer()); err == nil {
			hosts.Present(cert)
		}
	})
	serve(a.Remote(), hosts)
	s.stop = sync.OnceFunc(func() { cancel(); tasks.Wait() })
	s.t.Cleanup(s.stop)
}

// restart ends the controller and starts another one on the same database and port.
func (s *site) restart() {
	s.t.Helper()
	s.stop()
	s.start(s.addr)
}

// admin calls the API over the socket.
func (s *site) admin(method, path string, in, out any) *wire.Fault {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", s.socket)
		},
	}}
	f, err := call(s.t.Context(), client, "http://controller"+path, method, in, out)
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// must is admin where no fault is expected.
func (s *site) must(method, path string, in, out any) {
	s.t.Helper()
	if f := s.admin(method, path, in, out); f != nil {
		s.t.Fatalf("%s %s: %+v", method, path, f)
	}
}

// act does something to a host.
func (s *site) act(name, action string) {
	s.t.Helper()
	s.must(http.MethodPost, wire.PathHosts+"/"+name+"/"+action, wire.HostAction{Why: "test"}, nil)
}

// token makes an enrolment token.
func (s *site) token(order wire.TokenOrder) wire.Token {
	s.t.Helper()
	if order.Site == "" {
		order.Site = "shop"
	}
	var v wire.TokenView
	s.must(http.MethodPost, wire.PathTokens, order, &v)
	t, err := wire.ParseToken(v.Token)
	if err != nil {
		s.t.Fatal(err)
	}
	return t
}

// host is what the API shows of a host.
func (s *site) host(name string) wire.HostView {
	s.t.Helper()
	var v wire.HostView
	s.must(http.MethodGet, wire.PathHosts+"/"+name, nil, &v)
	return v
}

// call makes one request. What the other end refuses is a fault, what goes wrong otherwise an error.
func call(ctx context.Context, client *http.Client, url, method string, in, out any) (*wire.Fault, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return faultOf(resp)
	}
	if out == nil {
		return nil, nil
	}
	return nil, json.NewDecoder(resp.Body).Decode(out)
}

func faultOf(resp *http.Response) (*wire.Fault, error) {
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var f wire.Fault
	if resp.Header.Get("Content-Type") != wire.MediaProblem {
		return nil, fmt.Errorf("%s with a body of type %q", resp.Status, resp.Header.Get("Content-Type"))
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("%s with body %q: %v", resp.Status, raw, err)
	}
	if f.Status != resp.StatusCode || f.Code == "" || f.Detail == "" {
		return nil, fmt.Errorf("%s with the incomplete fault %s", resp.Status, raw)
	}
	return &f, nil
}

// A machine is a host that may enrol, or an admin elsewhere: somebody with an identity.
type machine struct {
	s        *site
	name     string
	identity key.IdentityKey
	from     net.Addr // on the loopback network, an address of its own
	client   *http.Client
	wg       key.Private
	session  string
}

func (s *site) machine(name string) *machine {
	s.t.Helper()
	id, err := key.NewIdentityKey(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	wg, err := key.NewPrivate(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	s.machines++
	from := &net.TCPAddr{IP: net.IPv4(127, 1, byte(s.machines>>8), byte(s.machines))}
	m := &machine{s: s, name: name, identity: id, wg: wg, from: from}
	m.reboot()
	return m
}

// reboot gives the machine a new session and a new connection.
func (m *machine) reboot() {
	m.s.t.Helper()
	cert, err := pin.Certificate(rand.Reader, m.identity.Signer())
	if err != nil {
		m.s.t.Fatal(err)
	}
	controller := m.s.c.Identity().Identity()
	dialer := &net.Dialer{LocalAddr: m.from}
	transport := &http.Transport{
		TLSClientConfig: pin.Client(cert, controller[:]), ForceAttemptHTTP2: true, DialContext: dialer.DialContext,
	}
	m.s.t.Cleanup(transport.CloseIdleConnections)
	m.client = &http.Client{Transport: transport}
	m.session = rand.Text()
}

// clone is another machine with the same disk.
func (m *machine) clone() *machine {
	c := *m
	c.reboot()
	return &c
}

func (m *machine) id() peers.HostID { return peers.HostID(m.identity.Identity().Fingerprint()) }

func (m *machine) call(method, path string, in, out any) *wire.Fault {
	m.s.t.Helper()
	f, err := call(m.s.t.Context(), m.client, "https://"+m.s.addr+path, method, in, out)
	if err != nil {
		m.s.t.Fatal(err)
	}
	return f
}

func (m *machine) key() peers.HostKey {
	return peers.SignKey(m.s.c.Inventory().Mesh.ID, m.identity, 1, m.wg.Public())
}

func local(address string) []peers.Endpoint {
	return []peers.Endpoint{{Kind: peers.EndpointLocal, Address: netip.MustParseAddrPort(address)}}
}

func (m *machine) request(t wire.Token) wire.EnrollRequest {
	return wire.EnrollRequest{
		Protocol: wire.Protocol, TokenID: t.ID, Secret: t.Secret[:], Name: m.name, Port: 51820,
		Endpoints: local("192.0.2.1:51820"), Keys: []peers.HostKey{m.key()},
	}
}

// enrol enrols the machine and gives what the controller answered.
func (m *machine) enrol(t wire.Token) (wire.Enrolled, *wire.Fault) {
	m.s.t.Helper()
	var e wire.Enrolled
	f := m.call(http.MethodPost, wire.PathEnroll, m.request(t), &e)
	return e, f
}

// join makes an enrolled machine.
func (s *site) join(name string) *machine {
	s.t.Helper()
	m := s.machine(name)
	if _, f := m.enrol(s.token(wire.TokenOrder{})); f != nil {
		s.t.Fatalf("enrol %s: %+v", name, f)
	}
	return m
}

func (m *machine) hello() wire.Hello {
	return wire.Hello{
		Protocol: wire.Protocol, Session: m.session, Version: "1", Backend: "kernel", Port: 51820,
		Endpoints: local("192.0.2.1:51820"), Keys: []peers.HostKey{m.key()},
	}
}

// A stream is that of one agent.
type stream struct {
	t     *testing.T
	up    *io.PipeWriter
	resp  *http.Response
	lines *bufio.Reader
	close func()
}

// dial opens a stream with a hello; a fault is the answer to the request. It tries twice, because the
// transport may not have noticed yet that the controller was restarted.
func (m *machine) dial(h wire.Hello) (*stream, *wire.Fault) {
	m.s.t.Helper()
	st, f, err := m.tryDial(h)
	if err != nil {
		st, f, err = m.tryDial(h)
	}
	if err != nil {
		m.s.t.Fatal(err)
	}
	return st, f
}

func (m *machine) tryDial(h wire.Hello) (*stream, *wire.Fault, error) {
	ctx, cancel := context.WithCancel(m.s.t.Context())
	read, write := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+m.s.addr+wire.PathStream, read)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	st := &stream{t: m.s.t, up: write, close: func() { cancel(); _ = write.CloseWithError(context.Canceled) }}
	m.s.t.Cleanup(st.close)
	go st.say(wire.Up{Kind: wire.UpHello, Hello: &h})
	if st.resp, err = m.client.Do(req); err != nil {
		st.close()
		return nil, nil, err
	}
	if st.resp.StatusCode != http.StatusOK {
		defer st.close()
		f, err := faultOf(st.resp)
		return nil, f, err
	}
	st.lines = bufio.NewReader(st.resp.Body)
	return st, nil, nil
}

// open is dial where no fault is expected.
func (m *machine) open(h wire.Hello) *stream {
	m.s.t.Helper()
	st, f := m.dial(h)
	if f != nil {
		m.s.t.Fatalf("stream of %s: %+v", m.name, f)
	}
	return st
}

// connect opens a stream and reads the snapshot.
func (m *machine) connect() (*stream, wire.Down) {
	m.s.t.Helper()
	st := m.open(m.hello())
	return st, st.expect(wire.DownSnapshot)
}

func (st *stream) say(up wire.Up) {
	raw, err := json.Marshal(up)
	if err != nil {
		st.t.Error(err)
		return
	}
	_, _ = st.up.Write(append(raw, '\n')) // the other end may have hung up already
}

// next reads one message; an error when the stream ends or nothing comes.
func (st *stream) next() (wire.Down, error) {
	timer := time.AfterFunc(patience, st.close)
	defer timer.Stop()
	var d wire.Down
	line, err := st.lines.ReadBytes('\n')
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(line, &d)
}

func (st *stream) expect(kind string) wire.Down {
	st.t.Helper()
	d, err := st.next()
	if err != nil {
		st.t.Fatalf("waiting for %s: %v", kind, err)
	}
	if d.Kind != kind {
		st.t.Fatalf("got %+v, want %s", d, kind)
	}
	return d
}

// expectEnd holds that the stream ends.
func (st *stream) expectEnd() {
	st.t.Helper()
	if d, err := st.next(); err == nil || errors.Is(err, context.Canceled) {
		st.t.Fatalf("got %+v %v, want the end of the stream", d, err)
	}
}

// quiet holds that nothing comes for a moment, which no test can hold for ever.
func (st *stream) quiet() {
	st.t.Helper()
	came := make(chan wire.Down, 1)
	go func() {
		if d, err := st.next(); err == nil {
			came <- d
		}
	}()
	select {
	case d := <-came:
		st.t.Fatalf("got %+v, want silence", d)
	case <-time.After(150 * time.Millisecond):
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	within(t, patience, what, holds)
}

// within waits for so long until something holds.
func within(t *testing.T, patience time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// logBook keeps what the controller logs.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends to the log.
func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
