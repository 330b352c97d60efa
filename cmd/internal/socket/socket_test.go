package socket_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/warren-mesh/warren/cmd/internal/socket"
)

func TestCallerIsThisProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "a.sock")
	l, err := socket.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	c, err := socket.CallerOf(server)
	if err != nil {
		t.Fatal(err)
	}
	if int(c.UID) != os.Geteuid() || int(c.GID) != os.Getegid() {
		t.Errorf("caller is %+v, want uid %d and gid %d", c, os.Geteuid(), os.Getegid())
	}
	if r := c.Rights(); !r.Read || !r.Write || r.Name == "unix:" {
		t.Errorf("the daemon's own user has rights %+v, want all", r)
	}
}

func TestStrangersHaveNoRights(t *testing.T) {
	c := socket.Caller{UID: 4_000_000_000, GID: 4_000_000_000}
	if r := c.Rights(); r.Read || r.Write {
		t.Errorf("a stranger has rights %+v", r)
	}
}

func TestListenReplacesOnlyDeadSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	l, err := socket.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := socket.Listen(path); !errors.Is(err, socket.ErrInUse) {
		t.Errorf("a second listener got %v, want ErrInUse", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as kill -9 leaves it
	l.Close()
	again, err := socket.Listen(path)
	if err != nil {
		t.Fatalf("a dead socket is in the way: %v", err)
	}
	again.Close()

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := socket.Listen(path); err == nil {
		t.Error("a plain file was replaced")
	}
}
