package api_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/warren-mesh/warren/controller/api"
)

// tired is a listener that fails a few times before it takes a connection.
type tired struct {
	net.Listener
	fails   atomic.Int32
	passing chan struct{} // closed when it works again
}

func (l *tired) Accept() (net.Conn, error) {
	if l.fails.Add(-1) >= 0 {
		return nil, syscall.EMFILE
	}
	if l.fails.Load() == -1 {
		close(l.passing)
	}
	return l.Listener.Accept()
}

// TestListenerGoesOn holds that running out of file descriptors ends nothing and is said once.
func TestListenerGoesOn(t *testing.T) {
	raw, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ill := &tired{Listener: raw, passing: make(chan struct{})}
	ill.fails.Store(3)
	_, cert := identity(t)
	var log bytes.Buffer
	l := api.NewListener(ill, cert, slog.New(slog.NewTextHandler(&log, nil)))
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	<-ill.passing
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed listener says %v", err)
		}
	}
	if n := strings.Count(log.String(), "too many open files"); n != 1 {
		t.Errorf("the log says it %d times:\n%s", n, log.String())
	}
}
