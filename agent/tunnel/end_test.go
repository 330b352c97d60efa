package tunnel

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/warren-mesh/warren/agent/linux/nettest"
)

// listener gives the process that listens for an interface.
func listener(t *testing.T, name string) int {
	t.Helper()
	c, err := net.Dial("unix", SocketPath(name))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	pid, err := listenerPID(c)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// nothingLeft checks that neither a socket nor the directory of sockets is there.
func nothingLeft(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(filepath.Dir(SocketPath("wrn0"))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory of the sockets: %v", err)
	}
}

// TestHold ends the process of an interface, also one that does not notice that its interface is gone.
func TestHold(t *testing.T) {
	nettest.NeedTUN(t)
	for _, stopped := range []bool{false, true} {
		nettest.Alone(t)
		s := starter(t)
		if err := s.Start(t.Context(), "wrn0", 1420); err != nil {
			t.Fatal(err)
		}
		pid := listener(t, "wrn0")
		if stopped {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
		end := s.Hold("wrn0")
		del(t, "wrn0")
		if err := end(t.Context()); err != nil {
			t.Errorf("stopped %v: %v", stopped, err)
		}
		if err := syscall.Kill(pid, 0); err == nil {
			nettest.Eventually(t, "it is reaped", func() bool { return syscall.Kill(pid, 0) != nil })
		}
		nothingLeft(t)
	}
}

// TestHoldNobody: there may be nothing, or only what a process that was killed has left.
func TestHoldNobody(t *testing.T) {
	if err := starter(t).Hold("wrn0")(t.Context()); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	if err := os.MkdirAll(filepath.Dir(SocketPath("wrn0")), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: SocketPath("wrn0"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if err := starter(t).Hold("wrn0")(t.Context()); err != nil {
		t.Errorf("a socket that nobody listens at: %v", err)
	}
	nothingLeft(t)
}

// TestHoldSpares: somebody who listens there and is no tunnel process of ours is not ended.
func TestHoldSpares(t *testing.T) {
	if err := os.MkdirAll(filepath.Dir(SocketPath("wrn0")), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", SocketPath("wrn0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		l.Close()
		leave(SocketPath("wrn0"))
	}()
	err = starter(t).Hold("wrn0")(t.Context())
	if err == nil || !strings.Contains(err.Error(), "none of ours") {
		t.Errorf("this test itself was taken for a tunnel process: %v", err)
	}
}
