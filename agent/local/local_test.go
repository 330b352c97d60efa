package local_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/agent/local"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// A host is one of which only the answers are known.
type host struct {
	err     error
	orders  chan wire.LocalEnroll
	proceed chan struct{}
}

func (h *host) Status(context.Context) (wire.Status, error) {
	return wire.Status{
		State: wire.StateUnenrolled, Interfaces: []wire.InterfaceStatus{}, Peers: []wire.PeerStatus{}, Problems: []peers.Problem{},
	}, h.err
}

func (h *host) Enroll(ctx context.Context, order wire.LocalEnroll, tell func(wire.Progress)) error {
	h.orders <- order
	tell(wire.Progress{Step: "token", Message: "read"})
	select {
	case <-h.proceed:
	case <-ctx.Done():
		return ctx.Err()
	}
	if h.err != nil {
		return h.err
	}
	tell(wire.Progress{Step: "peers", Done: true})
	return nil
}

func (h *host) Ping(_ context.Context, host string, count int, each func(wire.PingReply)) error {
	if h.err != nil {
		return h.err
	}
	for i := range count {
		each(wire.PingReply{Seq: i + 1})
	}
	each(wire.PingReply{Summary: &wire.PingSummary{Host: host, Sent: count}})
	return nil
}

func (h *host) Leave(_ context.Context, order wire.LocalLeave, tell func(wire.Progress)) error {
	if h.err != nil {
		return h.err
	}
	tell(wire.Progress{Step: "controller", Message: fmt.Sprintf("force %v", order.Force)})
	tell(wire.Progress{Done: true})
	return nil
}

func (h *host) WriteMetrics(_ context.Context, w io.Writer) error {
	if h.err != nil {
		return h.err
	}
	_, err := io.WriteString(w, "warren_agent_info 1\n")
	return err
}

func (h *host) Flows(context.Context) (wire.FlowReport, error) {
	return wire.FlowReport{Host: "shop"}, nil
}

func (h *host) Doctor(context.Context) ([]wire.Finding, error) { return nil, h.err }

// A rig is a server on a socket and a client of it.
type rig struct {
	t      *testing.T
	host   *host
	rights local.Rights
	client *http.Client
	stop   func()
}

func newRig(t *testing.T, rights local.Rights) *rig {
	t.Helper()
	r := &rig{t: t, rights: rights, host: &host{orders: make(chan wire.LocalEnroll, 1), proceed: make(chan struct{})}}
	path := filepath.Join(t.TempDir(), "a.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := local.New(r.host, r.host, r.host, slog.New(slog.DiscardHandler), func(net.Conn) (local.Rights, error) { return rights, nil })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	r.stop = func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the server does not end")
		}
	}
	t.Cleanup(cancel)
	r.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	t.Cleanup(r.client.CloseIdleConnections)
	return r
}

func (r *rig) do(method, path, body string) (*http.Response, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://agent"+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(raw)
}

func TestRights(t *testing.T) {
	nobody, reader, admin := local.Rights{}, local.Rights{Read: true}, local.Rights{Write: true}
	for _, c := range []struct {
		who          local.Rights
		method, path string
		want         int
	}{
		{nobody, "GET", wire.PathStatus, 403},
		{nobody, "GET", wire.PathDoctor, 403},
		{nobody, "GET", wire.PathPing + "?host=a", 403},
		{nobody, "POST", wire.PathLocalEnroll, 403},
		{reader, "GET", wire.PathStatus, 200},
		{reader, "GET", wire.PathDoctor, 200},
		{reader, "GET", wire.PathPing + "?host=a", 200},
		{reader, "POST", wire.PathLocalEnroll, 403},
		{admin, "GET", wire.PathStatus, 200},
		{admin, "POST", wire.PathLocalEnroll, 200},
		{admin, "DELETE", wire.PathStatus, 404},
		{admin, "GET", "/", 404},
	} {
		r := newRig(t, c.who)
		close(r.host.proceed)
		resp, body := r.do(c.method, c.path, `{"token":"t"}`)
		if resp.StatusCode != c.want {
			t.Errorf("%+v may %s %s: %d, want %d", c.who, c.method, c.path, resp.StatusCode, c.want)
		}
		if c.want < 400 {
			continue
		}
		var f wire.Fault
		if err := json.Unmarshal([]byte(body), &f); err != nil || f.Code == "" || f.Hint == "" || f.Status != c.want ||
			resp.Header.Get("Content-Type") != wire.MediaProblem {
			t.Errorf("%s %s: %s %q, want problem details", c.method, c.path, resp.Header.Get("Content-Type"), body)
		}
	}
}

func TestCallerUnknown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := local.New(&host{}, &host{}, &host{}, slog.New(slog.DiscardHandler), func(net.Conn) (local.Rights, error) {
		return local.Rights{}, errors.New("who is that?")
	})
	go func() { _ = s.Serve(t.Context(), l) }() // ends with the test
	r := &rig{t: t, client: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}}
	if resp, _ := r.do("GET", wire.PathStatus, ""); resp.StatusCode != 403 {
		t.Errorf("answered with %d", resp.StatusCode)
	}
}

func TestBadRequests(t *testing.T) {
	r := newRig(t, local.Rights{Write: true})
	for _, c := range []struct{ method, path, body string }{
		{"POST", wire.PathLocalEnroll, ""},
		{"POST", wire.PathLocalEnroll, "[]"},
		{"POST", wire.PathLocalEnroll, `{"token":7}`},
		{"POST", wire.PathLocalEnroll, `{"token":"` + strings.Repeat("x", 1<<20) + `"}`},
		{"GET", wire.PathPing, ""},
		{"GET", wire.PathPing + "?host=a&count=-1", ""},
		{"GET", wire.PathPing + "?host=a&count=many", ""},
	} {
		resp, body := r.do(c.method, c.path, c.body)
		var f wire.Fault
		if err := json.Unmarshal([]byte(body), &f); err != nil || resp.StatusCode != 400 || f.Code != "bad-request" {
			t.Errorf("%s %s: %d %q", c.method, c.path, resp.StatusCode, body)
		}
	}
}

// TestEnrollTellsWhileItWorks: the first step is there before the last is known.
func TestEnrollTellsWhileItWorks(t *testing.T) {
	r := newRig(t, local.Rights{Write: true})
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://agent"+wire.PathLocalEnroll,
		strings.NewReader(`{"token":"t","name":"shop","timeout":9,"unknown":true}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	var p wire.Progress
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &p) != nil || p.Step != "token" {
		t.Fatalf("first line %q", lines.Text())
	}
	if order := <-r.host.orders; order != (wire.LocalEnroll{Token: "t", Name: "shop", Timeout: 9}) {
		t.Errorf("order %+v", order)
	}
	close(r.host.proceed)
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &p) != nil || !p.Done {
		t.Errorf("last line %q", lines.Text())
	}
	if lines.Scan() {
		t.Errorf("one more line: %q", lines.Text())
	}
}

func TestFaultsOfTheHost(t *testing.T) {
	fault := wire.NewFault(409, "already-enrolled", "this host is enrolled already", "warren status")
	fault.Problems = []peers.Problem{{Code: "x"}}
	for _, c := range []struct {
		err  error
		code string
	}{{fault, "already-enrolled"}, {errors.New("the agent is stopping"), "agent"}} {
		r := newRig(t, local.Rights{Write: true})
		r.host.err = c.err
		close(r.host.proceed)
		_, enroll := r.do("POST", wire.PathLocalEnroll, `{"token":"t"}`)
		lines := strings.Split(strings.TrimSpace(enroll), "\n")
		var p wire.Progress
		if json.Unmarshal([]byte(lines[len(lines)-1]), &p) != nil || p.Fault == nil || p.Fault.Code != c.code {
			t.Errorf("enrol: %q", enroll)
		}
		var reply wire.PingReply
		if _, ping := r.do("GET", wire.PathPing+"?host=a", ""); json.Unmarshal([]byte(ping), &reply) != nil ||
			reply.Fault == nil || reply.Fault.Code != c.code {
			t.Errorf("ping: %q", ping)
		}
		var f wire.Fault
		if resp, status := r.do("GET", wire.PathStatus, ""); json.Unmarshal([]byte(status), &f) != nil || f.Code != c.code ||
			resp.StatusCode < 400 {
			t.Errorf("status: %q", status)
		}
	}
}

func TestAnswersAreNeverNull(t *testing.T) {
	r := newRig(t, local.Rights{Read: true})
	if _, body := r.do("GET", wire.PathDoctor, ""); strings.TrimSpace(body) != "[]" {
		t.Errorf("doctor: %q", body)
	}
	_, body := r.do("GET", wire.PathPing+"?host=a&count=2", "")
	if n := strings.Count(body, "\n"); n != 3 || !strings.Contains(body, `"summary"`) {
		t.Errorf("ping: %q", body)
	}
}

// TestEndsWithRequestsUnderWay: somebody waits for an enrolment while the agent is stopped.
func TestEndsWithRequestsUnderWay(t *testing.T) {
	r := newRig(t, local.Rights{Write: true})
	answered := make(chan string, 1)
	go func() {
		_, body := r.do("POST", wire.PathLocalEnroll, `{"token":"t"}`)
		answered <- body
	}()
	<-r.host.orders
	r.stop()
	if body := <-answered; !strings.Contains(body, `"fault"`) {
		t.Errorf("who waited got %q", body)
	}
}
