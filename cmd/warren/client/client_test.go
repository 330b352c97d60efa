package client_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/warren/client"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/pin"
	"github.com/warren-mesh/warren/peers/wire"
)

// daemon serves on a unix socket until the test ends.
func daemon(t *testing.T, handle http.HandlerFunc) *client.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "d.sock")
	server := httptest.NewUnstartedServer(handle)
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	return client.Unix("agent", path)
}

func newKey(t *testing.T) key.IdentityKey {
	t.Helper()
	k, err := key.NewIdentityKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func wantError(t *testing.T, err error, exit int, code, message string) {
	t.Helper()
	var told *cli.Error
	if !errors.As(err, &told) {
		t.Fatalf("got %v, want a *cli.Error", err)
	}
	if told.Exit != exit || told.Code != code || !strings.Contains(told.Message, message) || told.Remedy == "" {
		t.Errorf("got %+v, want exit code %d, code %s, a hint, and %q", *told, exit, code, message)
	}
}

func TestCallRefused(t *testing.T) {
	c := daemon(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", wire.MediaProblem+"; charset=utf-8")
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(`{"code":"name-taken","detail":"taken","hint":"another"}`))
	})
	var f *wire.Fault
	if err := c.Call(t.Context(), http.MethodGet, "/", nil, nil); !errors.As(err, &f) || f.Code != "name-taken" {
		t.Errorf("got %v, want the fault", err)
	}
}

func TestCallMisunderstood(t *testing.T) {
	for name, handle := range map[string]http.HandlerFunc{
		"no fault":       func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) },
		"no JSON":        func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"no such shape":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`[1]`)) },
		"cut":            func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"host":`)) },
		"nothing at all": func(http.ResponseWriter, *http.Request) {},
	} {
		t.Run(name, func(t *testing.T) {
			err := daemon(t, handle).Call(t.Context(), http.MethodGet, "/", nil, &wire.Status{})
			wantError(t, err, cli.ExitFailed, "bad-answer", "the agent at ")
		})
	}
}

func TestCallUnreachable(t *testing.T) {
	err := client.Unix("agent", filepath.Join(t.TempDir(), "no.sock")).Call(t.Context(), http.MethodGet, "/", nil, nil)
	wantError(t, err, cli.ExitDown, "agent-unreachable", "there is no socket")

	hangs := daemon(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	wantError(t, hangs.Call(ctx, http.MethodGet, "/", nil, nil), cli.ExitDown, "agent-unreachable", "does not answer in time")

	drops := daemon(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	wantError(t, drops.Call(t.Context(), http.MethodGet, "/", nil, nil), cli.ExitDown, "agent-unreachable", "went away")

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := hangs.Call(canceled, http.MethodGet, "/", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after an interrupt: got %v, want context.Canceled", err)
	}
}

func TestStream(t *testing.T) {
	read := func(lines string, most int) (n int, err error) {
		c := daemon(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(lines)) })
		for r, err := range client.Stream[wire.PingReply](t.Context(), c, http.MethodGet, "/", nil) {
			if err != nil {
				return n, err
			}
			if n++; r.Seq != n || n == most {
				return n, nil
			}
		}
		return n, nil
	}
	three := "{\"seq\":1}\n{\"seq\":2}\n{\"seq\":3}\n"
	if n, err := read(three, 10); n != 3 || err != nil {
		t.Errorf("read %d values, %v; want 3", n, err)
	}
	if n, err := read(three, 2); n != 2 || err != nil {
		t.Errorf("who has enough after 2 got %d, %v", n, err)
	}
	n, err := read("{\"seq\":1}\n{\"seq\":", 10)
	if n != 1 {
		t.Errorf("read %d values of a cut stream, want 1", n)
	}
	wantError(t, err, cli.ExitDown, "agent-unreachable", "went away")
	_, err = read("{\"seq\":1}\nnonsense\n", 10)
	wantError(t, err, cli.ExitFailed, "bad-answer", "not understood")
	wantError(t, client.Unix("agent", "").Ended(), cli.ExitDown, "agent-gone", "before it was through")
}

func TestTLSPinsBothEnds(t *testing.T) {
	controller, admin := newKey(t), newKey(t)
	cert, err := pin.Certificate(rand.Reader, controller.Signer())
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan key.Identity, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if k, err := pin.PeerKey(*r.TLS); err == nil && r.ProtoMajor == 2 && r.TLS.CurveID == tls.X25519MLKEM768 {
			seen <- key.Identity(k)
		}
	}))
	server.EnableHTTP2 = true
	server.TLS = pin.Server(cert)
	server.StartTLS()
	defer server.Close()
	address := server.Listener.Addr().String()

	c, err := client.TLS(address, controller.Identity(), admin)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Call(t.Context(), http.MethodGet, "/", nil, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-seen:
		if got != admin.Identity() {
			t.Errorf("the controller saw %v, want %v", got, admin.Identity())
		}
	default:
		t.Error("the controller saw nobody over HTTP/2 and X25519MLKEM768")
	}

	other, err := client.TLS(address, newKey(t).Identity(), admin)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, other.Call(t.Context(), http.MethodGet, "/", nil, nil), cli.ExitDown, "pin-mismatch", address)
}
