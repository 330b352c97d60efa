package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/wire"
)

// A trigger keeps what is written to it, and calls a function once that contains a text.
type trigger struct {
	strings.Builder
	text string
	call func()
}

func (w *trigger) Write(p []byte) (int, error) {
	n, err := w.Builder.Write(p)
	if w.text != "" && strings.Contains(w.String(), w.text) {
		w.call()
	}
	return n, err
}

// interrupted runs a command against an agent that answers with some values and then hangs. The user
// presses Ctrl-C when text has been shown.
func interrupted[T any](t *testing.T, text string, values []T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.sock")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stream(w, values...)
		<-r.Context().Done()
	}))
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server.Listener = l
	server.Start()
	defer server.Close()

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, errs := &trigger{text: text, call: cancel}, &trigger{text: text, call: cancel}
	code = run(ctx, &cli.Process{
		Args: append(args, "--agent", path), Stdin: strings.NewReader(""), Stdout: out, Stderr: errs,
		Env: func(string) string { return "" }, Now: time.Now,
	})
	return code, out.String(), errs.String()
}

func TestInterruptedPingSumsUp(t *testing.T) {
	replies := []wire.PingReply{{Seq: 1, RTT: 0.010}, {Seq: 2, Lost: true}, {Seq: 3, RTT: 0.030}, {Seq: 4, RTT: 0.020}}
	code, stdout, stderr := interrupted(t, "seq 4", replies, "ping", "shop", "--count", "100")
	want := `shop: seq 1, 10.00 ms
shop: seq 2, no reply
shop: seq 3, 30.00 ms
shop: seq 4, 20.00 ms

shop: 4 sent, 3 received, 25 % lost
round trip: least 10.00 ms, mean 20.00 ms, most 30.00 ms
`
	if code != cli.ExitOK || stdout != want || stderr != "" {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s\nwant 0, nothing and:\n%s", code, stderr, stdout, want)
	}
}

func TestInterruptedEnrolmentSaysWhatGoesOn(t *testing.T) {
	steps := []wire.Progress{{Step: "token", Message: "read"}, {Step: "keys", Message: "made"}}
	code, stdout, stderr := interrupted(t, "keys", steps, "enroll", "warren1.AbCd")
	if code != cli.ExitFailed || stdout != "" || !strings.Contains(stderr, "warren: interrupted\nhint: the agent may be") {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// TestEnrolmentOutlivesNoHungAgent: the agent keeps to --timeout by itself, and where it does not, the
// command ends a little later.
func TestEnrolmentOutlivesNoHungAgent(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	a := newApp(&cli.Process{Stdout: &trigger{}, Stderr: &trigger{}, Env: func(string) string { return "" }, Now: time.Now})
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "agent.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it listens, and accepts nobody
	cmd := a.enrollCommand()
	a.agentPath = l.Addr().String()
	told, ok := errors.AsType[*cli.Error](a.enroll(ctx, a.agent(cmd), wire.LocalEnroll{}))
	if !ok || told.Exit != cli.ExitDown || told.Code != "agent-unreachable" {
		t.Errorf("got %+v, want agent-unreachable with exit code 4", told)
	}
}
