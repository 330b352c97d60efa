package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/cmd/internal/daemon"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestMain gives the agents of the tests a network of their own.
func TestMain(m *testing.M) { os.Exit(nettest.Main(m, os.Args, os.Stderr, nil)) }

func TestEndpoints(t *testing.T) {
	for text, want := range map[string]string{
		"198.51.100.7":           "198.51.100.7:51820",
		"198.51.100.7:4000":      "198.51.100.7:4000",
		"2001:db8::7":            "[2001:db8::7]:51820",
		"[2001:db8::7]:4000":     "[2001:db8::7]:4000",
		"::ffff:198.51.100.7":    "198.51.100.7:51820",
		"shop.example.com":       "",
		"198.51.100.7:0":         "",
		"198.51.100.7:65535":     "",
		"127.0.0.1":              "",
		"fe80::1%eth0":           "",
		"0.0.0.0":                "",
		"224.0.0.1":              "",
		"198.51.100.7:51820:1":   "",
		"":                       "",
		"198.51.100.7 198.51.10": "",
	} {
		o := &options{port: 51820, endpoints: []string{text}}
		got, err := o.pinned()
		if want == "" {
			if err == nil {
				t.Errorf("%q was taken for %v", text, got)
			}
			continue
		}
		pinned := peers.Endpoint{Kind: peers.EndpointPinned, Address: netip.MustParseAddrPort(want)}
		if err != nil || len(got) != 1 || got[0] != pinned {
			t.Errorf("%q is %v, %v; want %s", text, got, err, want)
		}
	}
	for _, port := range []uint16{0, 65535} {
		if _, err := (&options{port: port}).pinned(); err == nil {
			t.Errorf("port %d was taken", port)
		}
	}
}

// start runs an agent until the test ends, or stop.
func start(t *testing.T, o *options) (ended chan error, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended = make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- run(ctx, o, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() { cancel(); <-done })
	return ended, cancel
}

func settings(dir string) *options {
	return &options{
		dataDir: filepath.Join(dir, "data"), socket: filepath.Join(dir, "run", "agent.sock"), backend: "auto", port: 51820,
	}
}

// TestRun: it says READY when it answers, beats for the watchdog, and ends cleanly.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	t.Setenv("NOTIFY_SOCKET", notify.LocalAddr().String())
	t.Setenv("WATCHDOG_USEC", "300000")
	o := settings(dir)
	ended, stop := start(t, o)
	told := func() string {
		buf := make([]byte, 100)
		if err := notify.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := notify.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	if got := told(); got != "READY=1" {
		t.Errorf("told systemd %q", got)
	}
	for range 3 {
		if got := told(); got != "WATCHDOG=1" {
			t.Errorf("told systemd %q", got)
		}
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", o.socket)
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://agent"+wire.PathStatus, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var s wire.Status
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil || s.State != wire.StateUnenrolled {
		t.Errorf("status %+v, %v", s, err)
	}
	stop()
	got := told()
	for got == "WATCHDOG=1" {
		got = told()
	}
	if got != "STOPPING=1" {
		t.Errorf("told systemd %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	ended <- nil
}

// TestCannotRun: each failure names what helps.
func TestCannotRun(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(o *options, dir string)
		hint string
	}{
		"second agent on the data directory": {func(o *options, _ string) { o.socket += "2" }, "--data-dir"},
		"second agent on the socket":         {func(o *options, _ string) { o.dataDir += "2" }, "--socket"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := settings(dir)
			start(t, o)
			waitFor(t, o.socket)
			second := *o
			c.edit(&second, dir)
			err := run(t.Context(), &second, slog.New(slog.DiscardHandler))
			var h daemon.Hinted
			if !errors.As(err, &h) || !strings.Contains(h.Hint(), c.hint) {
				t.Errorf("got %v, want a hint with %s", err, c.hint)
			}
		})
	}
	o := settings(t.TempDir())
	o.backend = "magic"
	if err := run(t.Context(), o, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "magic") {
		t.Errorf("an unknown backend: %v", err)
	}
}

func waitFor(t *testing.T, path string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-tick.C {
		if _, err := os.Stat(path); err == nil {
			return
		}
	}
	t.Fatalf("%s does not appear", path)
}

// TestExampleSettings: the file that the package brings is one that the agent takes.
func TestExampleSettings(t *testing.T) {
	cmd := runCommand()
	if err := cmd.ParseFlags([]string{"--config", "../../systemd/packages/agent.yaml.example"}); err != nil {
		t.Fatal(err)
	}
	if err := cmd.PreRunE(cmd, nil); err != nil {
		t.Error(err)
	}
	if at := cmd.Flag("endpoint").Value.String(); at != "[198.51.100.7:51820]" {
		t.Errorf("the endpoint is %s", at)
	}
}
