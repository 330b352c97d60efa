package linux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/agent/tunnel"
)

// insideVariable is set in the process that runs the tests: it has a network, a /run and perhaps a user of
// its own, so that nothing here can touch the machine.
const insideVariable = "WARREN_TEST_INSIDE"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "tunnel" {
		os.Exit(runTunnel(os.Args[2:]))
	}
	if os.Getenv(insideVariable) == "" {
		os.Exit(outside())
	}
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// runTunnel is what `warren-agent tunnel` does.
func runTunnel(args []string) int {
	mtu, err := strconv.Atoi(args[3])
	if err == nil {
		err = tunnel.Run(context.Background(), tunnel.Options{
			Interface: args[1], MTU: mtu, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// outside runs the tests inside, and ends what they leave behind.
func outside() int {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	err := cmd.Run()
	left := reap()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "tests of the network need namespaces of their own:", err)
		return 1
	case left > 0:
		fmt.Fprintln(os.Stderr, left, "processes were left behind")
		return 1
	}
	return 0
}

// reap ends the processes that were started by the tests, which are our children now.
func reap() (left int) {
	for {
		list, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", unix.Getpid()))
		children := strings.Fields(string(list))
		if err != nil || len(children) == 0 {
			return left
		}
		for _, child := range children {
			pid, err := strconv.Atoi(child)
			if err != nil {
				return left
			}
			var status syscall.WaitStatus
			if done, _ := syscall.Wait4(pid, &status, syscall.WNOHANG, nil); done == pid {
				continue // had ended by itself
			}
			left++
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(pid, &status, 0, nil)
		}
	}
}

// furnish gives the process a /run of its own.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return nil
}

// ownNetwork puts the test into a new network namespace, with its loopback up. The thread of the test
// stays there and ends with the test.
func ownNetwork(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// backendVariable chooses the backend of the tests on a real kernel.
const backendVariable = "WARREN_TEST_BACKEND"

func starter(t testing.TB) tunnel.Starter {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return tunnel.Starter{Program: self, LogDir: t.TempDir()}
}

// newKernel opens the kernel in a network of its own.
func newKernel(t testing.TB) *Kernel {
	t.Helper()
	ownNetwork(t)
	dir := starter(t)
	k, err := New(Options{
		Backend: os.Getenv(backendVariable),
		Tunnels: dir,
		Log:     slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, name := range linkNames() {
			if link, err := netlink.LinkByName(name); err == nil {
				if err := netlink.LinkDel(link); err != nil {
					t.Error(err)
				}
			}
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		awaitSockets(t)
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(dir.LogDir, "*.log"))
			for _, path := range logs {
				text, _ := os.ReadFile(path)
				t.Logf("%s:\n%s", path, text)
			}
		}
	})
	return k
}

// testWriter logs to a test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}
