package e2e

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/pin"
	"github.com/warren-mesh/warren/peers/wire"
)

// A door is one way in to the controller's API.
type door struct {
	name   string
	client *http.Client
	base   string
	path   string // of something to post
	good   string // a body for it, without the closing brace
}

// doors are the unix socket, for an admin, and the TLS port, for a stranger with an identity.
func (m *mesh) doors(token wire.Token) []door {
	m.t.Helper()
	socket := m.lab.Host(lab.DefaultController).Path("/run/warren-controller/controller.sock")
	local := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	remote := &http.Transport{TLSClientConfig: stranger(m.t, token.Pin), ForceAttemptHTTP2: true}
	m.t.Cleanup(func() { local.CloseIdleConnections(); remote.CloseIdleConnections() })
	check, err := json.Marshal(wire.EnrollCheck{Protocol: wire.Protocol, TokenID: token.ID, Secret: token.Secret[:], Name: "x"})
	if err != nil {
		m.t.Fatal(err)
	}
	return []door{
		{"socket", &http.Client{Transport: local, Timeout: patience}, "http://controller", wire.PathTokens, `{"site":"x"`},
		{
			"TLS", &http.Client{Transport: remote, Timeout: patience}, "https://" + token.Controllers[0],
			wire.PathEnrollCheck, strings.TrimSuffix(string(check), "}"),
		},
	}
}

// stranger is the TLS configuration of somebody with a new identity.
func stranger(t testing.TB, controller key.Identity) *tls.Config {
	t.Helper()
	me, err := key.NewIdentityKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pin.Certificate(rand.Reader, me.Signer())
	if err != nil {
		t.Fatal(err)
	}
	return pin.Client(cert, controller[:])
}

// TestHostileBodies sends the controller what no program of ours sends.
func TestHostileBodies(t *testing.T) {
	m := startMesh(t, "shop")
	_, token := m.token("--site", "x")
	var before, after wire.MeshView
	m.list(&before, "mesh", "show")
	for _, d := range m.doors(token) {
		for _, c := range []struct {
			name, body string
			status     int
			code       string
		}{
			{"no JSON", `site=x`, 400, "request-invalid"},
			{"half of it", d.good, 400, "request-invalid"},
			{"nothing", ``, 400, "request-invalid"},
			{"another kind", `[1]`, 422, "request-invalid"},
			{"wrong types", `{"site":7,"token_id":{},"secret":[],"name":false,"protocol":"x"}`, 422, "request-invalid"},
			{"far too deep", strings.Repeat(`[`, 200_000), 400, "request-invalid"},
			{
				"far too long a name", `{"site":"` + strings.Repeat("x", 100_000) + `","token_id":"","protocol":1}`,
				422, "request-invalid",
			},
		} {
			t.Run(d.name+" "+c.name, func(t *testing.T) {
				status, f := d.post(t, strings.NewReader(c.body))
				if status != c.status || f.Code != c.code || f.Detail == "" || f.Hint == "" {
					t.Errorf("status %d and %+v, want %d and %s", status, f, c.status, c.code)
				}
				t.Logf("%d %s: %.200s | hint: %s", status, f.Code, f.Detail, f.Hint)
			})
		}
		t.Run(d.name+" 100 MB", func(t *testing.T) {
			body := &endless{}
			status, f := d.post(t, body)
			if status != http.StatusRequestEntityTooLarge || f.Code != "request-too-large" || f.Hint == "" {
				t.Errorf("status %d and %+v", status, f)
			}
			if sent := body.sent.Load(); sent > 8<<20 {
				t.Errorf("the controller took %d bytes of it", sent)
			}
		})
	}
	m.list(&after, "mesh", "show")
	if before.Head != after.Head {
		t.Errorf("the ledger went from revision %d to %d", before.Revision, after.Revision)
	}
	for _, d := range m.doors(token) {
		t.Run(d.name+" unknown fields", func(t *testing.T) {
			status, f := d.post(t, strings.NewReader(d.good+`,"colour":"red","more":{"a":[1,2]}}`))
			if status/100 != 2 {
				t.Errorf("status %d: %+v", status, f)
			}
		})
	}
	if s := m.status("shop"); s.State != wire.StateOK {
		t.Errorf("the member is %s", s.State)
	}
}

// post sends a body and gives status and fault of the answer.
func (d door) post(t *testing.T, body io.Reader) (int, wire.Fault) {
	t.Helper()
	resp, err := d.client.Post(d.base+d.path, "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var f wire.Fault
	if err := json.NewDecoder(resp.Body).Decode(&f); err != nil {
		t.Errorf("status %d, and the answer is no JSON: %v", resp.StatusCode, err)
	}
	return resp.StatusCode, f
}

// bodySize is a body far beyond what the controller takes.
const bodySize = 100 << 20

// endless is a JSON string of bodySize. The client may still read it when the answer is there.
type endless struct{ sent atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	sent := e.sent.Load()
	n := int(min(int64(len(p)), bodySize-sent))
	if n <= 0 {
		return 0, io.EOF
	}
	for i := range p[:n] {
		p[i] = 'x'
	}
	if sent == 0 {
		n = copy(p, `{"site":"`)
	}
	e.sent.Add(int64(n))
	return n, nil
}

// silent is how long the controller may wait for a client that says nothing.
const silent = 30 * time.Second

// slowClients connect, say less than a request, and wait to be sent away. Meanwhile others are served.
func slowClients(m *mesh) {
	_, token := m.token("--site", "x")
	at := token.Controllers[0]
	config := stranger(m.t, token.Pin)
	config.NextProtos = []string{"http/1.1"}
	socket := m.lab.Host(lab.DefaultController).Path("/run/warren-controller/controller.sock")
	request := "POST " + wire.PathTokens + " HTTP/1.1\r\nHost: x\r\n"
	body := request + "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
	dials := []struct {
		name, says string
		dial       func() (net.Conn, error)
	}{
		{"TCP, nothing", "", func() (net.Conn, error) { return net.Dial("tcp", at) }},
		{"TCP, half a hello", "\x16\x03\x01", func() (net.Conn, error) { return net.Dial("tcp", at) }},
		{"TLS, half a header", request, func() (net.Conn, error) { return tls.Dial("tcp", at, config) }},
		{"TLS, half a body", body, func() (net.Conn, error) { return tls.Dial("tcp", at, config) }},
		{"socket, half a header", request, func() (net.Conn, error) { return net.Dial("unix", socket) }},
		{"socket, half a body", body, func() (net.Conn, error) { return net.Dial("unix", socket) }},
	}
	ended := make(chan error, len(dials))
	for _, d := range dials {
		go func() { ended <- wait(d.name, d.says, d.dial) }()
	}
	for left := len(dials); left > 0; {
		select {
		case err := <-ended:
			left--
			if err != nil {
				m.t.Error(err)
			}
		default:
			began := time.Now()
			m.revision()
			if took := time.Since(began); took > 5*time.Second {
				m.t.Errorf("an admin waited %v", took)
			}
		}
	}
}

// wait says something and returns when the other end has closed the connection.
func wait(name, says string, dial func() (net.Conn, error)) error {
	conn, err := dial()
	if err != nil {
		return fmt.Errorf("%s: %v", name, err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, says); err != nil {
		return fmt.Errorf("%s: %v", name, err)
	}
	if err := conn.SetDeadline(time.Now().Add(silent)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%s: the controller still waits after %v", name, silent)
	}
	return nil
}

// TestPartitions cuts one host off, keeps another from the controller only, and lets clients dawdle; all at once,
// because each takes its time.
func TestPartitions(t *testing.T) {
	m := startMesh(t, sites()...)
	m.must(lab.DefaultController, "mesh", "set", "keepalive=5")
	m.allUp(2)
	t.Run("all", func(t *testing.T) {
		t.Run("slow clients", func(t *testing.T) { t.Parallel(); slowClients(m.in(t)) })
		t.Run("a host is cut off", func(t *testing.T) { t.Parallel(); cutOff(m.in(t), "warehouse", "shop") })
		t.Run("no controller", func(t *testing.T) { t.Parallel(); noController(m.in(t), "accounting", "shop") })
	})
	m.allUp(2)
	for _, h := range m.Members() {
		until(t, patience, h.Name()+" is well", func() bool { return m.status(h.Name()).State == wire.StateOK })
	}
}

// cutOff lets a host fall silent until the other end says so, which must not be before its session can be dead.
func cutOff(m *mesh, host, other string) {
	const doubt = 10 * time.Second // two keepalives that did not come
	peer := func(on, of string) wire.PeerStatus {
		for _, p := range m.status(on).Peers {
			if p.Host == of {
				return p
			}
		}
		m.t.Errorf("%s has forgotten %s", on, of)
		return wire.PeerStatus{}
	}
	tr := flow(m.t, m.lab.Host(other), m.lab.Host(host), m.status(host).Address)
	index := linkIndex(m.t, m.lab.Host(host), m.status(host).Interfaces[0].Name)
	if err := m.lab.Host(host).Cut(); err != nil {
		m.t.Fatal(err)
	}
	began := time.Now()
	until(m.t, patience, "the silence is noticed at both ends", func() bool {
		down := peer(other, host).State != wire.PeerUp
		if took := time.Since(began); down && took < doubt {
			m.t.Fatalf("called down after %v", took)
		}
		return down && peer(host, other).State != wire.PeerUp
	})
	m.t.Logf("called down after %v", time.Since(began))
	if s := m.status(host); s.State != wire.StateDown || len(s.Peers) != 2 || len(s.Interfaces) != 1 {
		m.t.Errorf("the host that is cut off: %+v", s)
	}
	if err := m.lab.Host(host).Restore(); err != nil {
		m.t.Fatal(err)
	}
	began = time.Now()
	tr.more(50)
	m.t.Logf("traffic is back after %v", time.Since(began))
	until(m.t, patience, "both are up again", func() bool {
		return peer(other, host).State == wire.PeerUp && peer(host, other).State == wire.PeerUp
	})
	if now := linkIndex(m.t, m.lab.Host(host), m.status(host).Interfaces[0].Name); now != index {
		m.t.Errorf("the interface was made anew: %d, then %d", index, now)
	}
	tr.end()
}

// noController keeps a host from the controller, restarts its agent meanwhile, and loses no packet.
func noController(m *mesh, host, other string) {
	h, controller := m.lab.Host(host), m.lab.Host(lab.DefaultController)
	away := []netip.Prefix{netip.PrefixFrom(controller.IPv4(), 32)}
	if controller.IPv6().IsValid() {
		away = append(away, netip.PrefixFrom(controller.IPv6(), 128))
	}
	tr := flow(m.t, h, m.lab.Host(other), m.status(other).Address)
	for _, p := range away {
		if err := h.Block(p); err != nil {
			m.t.Fatal(err)
		}
	}
	m.restart(host)
	until(m.t, patience, "the host says that it does not reach the controller", func() bool {
		return hasProblem(m.status(host), "controller-unreachable")
	})
	if s := m.status(host); s.State != wire.StateDegraded || s.Controller.Connected || s.Controller.Error == "" {
		m.t.Errorf("without the controller: %+v", s)
	}
	tr.more(100)
	for _, p := range away {
		if err := h.Unblock(p); err != nil {
			m.t.Fatal(err)
		}
	}
	began := time.Now()
	until(m.t, patience, "the host is connected again", func() bool { return m.status(host).Controller.Connected })
	m.t.Logf("connected after %v", time.Since(began))
	if sent, lost := tr.end(); lost != 0 {
		m.t.Errorf("%d of %d packets lost", lost, sent)
	}
}
