package tunnel

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warren-mesh/warren/agent/linux/nettest"
)

// serving listens at a path in a new directory and greets whoever comes.
func serving(t *testing.T) *socket {
	t.Helper()
	s, err := listen(t.Context(), filepath.Join(t.TempDir(), "wireguard", "wrn0.sock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.serve(ctx, func(c net.Conn) {
			defer c.Close()
			_, _ = c.Write([]byte("hello")) // to whoever waits for it
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-ended
		if _, err := os.Stat(s.path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return s
}

func greeted(path string) bool {
	c, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	defer c.Close()
	word := make([]byte, 5)
	n, err := c.Read(word)
	return err == nil && string(word[:n]) == "hello"
}

func TestSocketTaken(t *testing.T) {
	s := serving(t)
	if _, err := take(s.path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("taking a path that answers: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := listen(ctx, s.path); err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("listening at a path that answers: %v", err)
	}
	if !greeted(s.path) {
		t.Error("the one who was there suffered")
	}
}

// TestSocketLeaves waits for somebody who is about to go.
func TestSocketLeaves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wrn0.sock")
	old, err := listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(5*lookAgain, func() { old.Close() })
	s, err := listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	s.Close()
}

func TestSocketRenewed(t *testing.T) {
	s := serving(t)
	if !greeted(s.path) {
		t.Fatal("no answer")
	}
	s.renew() // nothing to do
	if err := os.RemoveAll(filepath.Dir(s.path)); err != nil {
		t.Fatal(err)
	}
	s.renew()
	nettest.Eventually(t, "it answers again", func() bool { return greeted(s.path) })
}

func TestSocketElsewhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t.Context(), filepath.Join(file, "wrn0.sock")); err == nil {
		t.Error("no error for a directory that is a file")
	}
}

// TestLogger has a device complain without end.
func TestLogger(t *testing.T) {
	var text strings.Builder
	l := logger(slog.New(slog.NewTextHandler(&text, nil)))
	for range 1000 {
		l.Errorf("peer %d does not answer", 7)
		l.Verbosef("details")
	}
	if n := strings.Count(text.String(), "peer 7 does not answer"); n != logBurst || strings.Contains(text.String(), "details") {
		t.Errorf("%d lines:\n%s", n, text.String())
	}
	debug := logger(slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug})))
	debug.Verbosef("details of %s", "everything")
	if !strings.Contains(text.String(), "details of everything") {
		t.Error("no details at debug level")
	}
}

func TestShorten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	write := func(text string) {
		if _, err := file.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	shorten(file)
	write(strings.Repeat("x", logMaximum))
	shorten(file)
	write("last\n")
	if text, err := os.ReadFile(path); err != nil || string(text) != "last\n" {
		t.Errorf("log of %d bytes, %v", len(text), err)
	}
	if quote := tail(path); quote != "last" {
		t.Errorf("tail %q", quote)
	}
}
