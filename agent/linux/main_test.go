package linux

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/agent/tunnel"
)

func TestMain(m *testing.M) {
	os.Exit(nettest.Main(m, os.Args, os.Stdout, map[string]func([]string) error{"tunnel": runTunnel, "starts": starts}))
}

// runTunnel is what `warren-agent tunnel` does.
func runTunnel(args []string) error {
	mtu, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	return tunnel.Run(context.Background(), tunnel.Options{
		Interface: args[1], MTU: mtu, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
}

// backendVariable chooses the backend of the tests on a real kernel.
const backendVariable = "WARREN_TEST_BACKEND"

// newKernel opens the kernel in a network of its own.
func newKernel(t testing.TB) *Kernel {
	t.Helper()
	nettest.Alone(t)
	k := openKernel(t)
	t.Cleanup(func() {
		deleteLinks(t)
		awaitSockets(t)
	})
	return k
}

// openKernel opens the kernel in the present network.
func openKernel(t testing.TB) *Kernel {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	starter := tunnel.Starter{Program: self, LogDir: t.TempDir()}
	k, err := New(Options{
		Backend: os.Getenv(backendVariable),
		Tunnels: starter,
		Log:     slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	})
	if err != nil {
		nettest.NeedTUN(t)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(starter.LogDir, "*.log"))
			for _, path := range logs {
				text, _ := os.ReadFile(path)
				t.Logf("%s:\n%s", path, text)
			}
		}
	})
	return k
}

// deleteLinks deletes our links in the present network.
func deleteLinks(t testing.TB) {
	t.Helper()
	for _, name := range linkNames() {
		if link, err := netlink.LinkByName(name); err == nil {
			if err := netlink.LinkDel(link); err != nil {
				t.Error(err)
			}
		}
	}
}

// awaitSockets waits until no tunnel process of ours is left.
func awaitSockets(t testing.TB) {
	t.Helper()
	nettest.Eventually(t, "tunnel processes end with their interfaces", func() bool {
		for _, name := range linkNames() {
			if _, err := os.Lstat(socketPath(name)); err == nil {
				return false
			}
		}
		return true
	})
}

// testWriter logs to a test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}
