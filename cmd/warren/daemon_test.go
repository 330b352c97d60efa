package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/pin"
	"github.com/warren-mesh/warren/peers/wire"
)

// serve runs a daemon on a listener until the script ends. Every request is kept in requests.log.
func serve(ts *testscript.TestScript, l net.Listener, routes http.Handler) {
	file, err := os.OpenFile(ts.MkAbs("requests.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	var mu sync.Mutex
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		mu.Lock()
		fmt.Fprintf(file, "%s%s %s %s\n", clientOf(r), r.Method, r.URL.RequestURI(), body)
		mu.Unlock()
		routes.ServeHTTP(w, r)
	}), ErrorLog: log.New(io.Discard, "", 0)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	ts.Defer(func() {
		server.Close()
		serving.Wait()
		file.Close()
	})
}

// clientOf names the identity of a client that came over TLS.
func clientOf(r *http.Request) string {
	if r.TLS == nil {
		return ""
	}
	k, err := pin.PeerKey(*r.TLS)
	if err != nil {
		return "nobody "
	}
	return key.Identity(k).String() + " "
}

func listenUnix(ts *testscript.TestScript, name string) net.Listener {
	l, err := net.Listen("unix", ts.MkAbs(name))
	ts.Check(err)
	return l
}

// listenTLS listens as the controller with a new identity, which the script finds in $PIN and $REMOTE.
func listenTLS(ts *testscript.TestScript) net.Listener {
	k, err := key.NewIdentityKey(rand.Reader)
	ts.Check(err)
	cert, err := pin.Certificate(rand.Reader, k.Signer())
	ts.Check(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv("PIN", k.Identity().String())
	ts.Setenv("REMOTE", l.Addr().String())
	return tls.NewListener(l, pin.Server(cert))
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, f *wire.Fault) {
	w.Header().Set("Content-Type", wire.MediaProblem)
	w.WriteHeader(f.Status)
	_ = json.NewEncoder(w).Encode(f)
}

// stream writes values one by one, each as soon as it is there.
func stream[T any](w http.ResponseWriter, values ...T) {
	w.Header().Set("Content-Type", wire.MediaStream)
	flush := http.NewResponseController(w)
	for _, v := range values {
		_ = json.NewEncoder(w).Encode(v)
		_ = flush.Flush()
	}
}

// exits CODE COMMAND… runs a command that must end with the exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%q: exit code %d, want %d", args[1:], got, want)
	}
}

// waitFor COUNT TEXT waits until TEXT is in so many lines of requests.log.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor COUNT TEXT")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for strings.Count(ts.ReadFile("requests.log"), args[1]) < want {
		select {
		case <-look.C:
		case <-deadline.C:
			ts.Fatalf("%q did not come %d times:\n%s", args[1], want, ts.ReadFile("requests.log"))
		}
	}
}

// deadSocket NAME leaves a socket on which nobody answers, as a killed daemon does.
func deadSocket(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: deadsocket NAME")
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: ts.MkAbs(args[0]), Net: "unix"})
	ts.Check(err)
	l.SetUnlinkOnClose(false)
	ts.Check(l.Close())
}

// identified FILE wants the identity key in FILE to have made requests over TLS.
func identified(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: identified FILE")
	}
	want := strings.TrimSpace(ts.ReadFile(args[0])) + " GET " + wire.PathHosts
	if want == "" || !strings.Contains(ts.ReadFile("requests.log"), want) {
		ts.Fatalf("%q is not in requests.log:\n%s", want, ts.ReadFile("requests.log"))
	}
}
