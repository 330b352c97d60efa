package tunnel

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/warren-mesh/warren/agent/linux/nettest"
)

// TestStart starts a tunnel that can be used at once, once.
func TestStart(t *testing.T) {
	nettest.NeedTUN(t)
	nettest.Alone(t)
	s := starter(t)
	if err := s.Start(t.Context(), "wrn0", 1380); err != nil {
		t.Fatal(err)
	}
	link, err := net.InterfaceByName("wrn0")
	if err != nil || link.MTU != 1380 || link.Flags&net.FlagUp != 0 {
		t.Errorf("link %+v, %v", link, err)
	}
	answer := make([]byte, 64)
	c, err := net.Dial("unix", SocketPath("wrn0"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if pid, err := listenerPID(c); err != nil || !comesFirst(t, pid) {
		t.Errorf("process %d has no larger share of the processor: %v", pid, err)
	}
	if _, err := c.Write([]byte("get=1\n\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(answer); err != nil || !strings.Contains(string(answer[:n]), "errno=0") {
		t.Errorf("answer %q, %v", answer[:n], err)
	}
	at, err := os.Stat(SocketPath("wrn0"))
	if err != nil || at.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, %v", at, err)
	}
	if dir, err := os.Stat(filepath.Dir(SocketPath("wrn0"))); err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("directory %v, %v", dir, err)
	}
	for _, again := range []error{
		s.Start(t.Context(), "wrn0", 1420),
		Run(t.Context(), Options{Interface: "wrn0", MTU: 1420}),
	} {
		if !errors.Is(again, ErrRunning) {
			t.Errorf("a second start: %v", again)
		}
	}
	del(t, "wrn0")
	nettest.Eventually(t, "the socket goes with the interface", func() bool {
		_, err := os.Stat(SocketPath("wrn0"))
		return errors.Is(err, os.ErrNotExist)
	})
}

// comesFirst says whether a tunnel process has the share that it asks for; true where it may not ask.
func comesFirst(t *testing.T, pid int) bool {
	t.Helper()
	share, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "autogroup"))
	if errors.Is(err, os.ErrNotExist) {
		return true // a kernel without them
	}
	if err != nil {
		t.Fatal(err)
	}
	users, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	mayAsk := slices.Equal(strings.Fields(string(users)), []string{"0", "0", strconv.Itoa(math.MaxUint32)})
	return strings.HasSuffix(strings.TrimSpace(string(share)), " nice "+autogroupNice) || !mayAsk
}

// TestStartSpares meets a TUN device of somebody else, which the kernel would hand out.
func TestStartSpares(t *testing.T) {
	nettest.NeedTUN(t)
	nettest.Alone(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "wrn0"
	if err := netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TUN}); err != nil {
		t.Fatal(err)
	}
	if err := starter(t).Start(t.Context(), "wrn0", 1420); !errors.Is(err, ErrRunning) {
		t.Errorf("error %v", err)
	}
	if link, err := net.InterfaceByName("wrn0"); err != nil || link.MTU != 1500 {
		t.Errorf("somebody else's link: %+v, %v", link, err)
	}
	if _, err := os.Stat(SocketPath("wrn0")); err == nil {
		t.Error("there is a socket")
	}
}

// TestStartFails wants the reasons of processes that cannot be tunnels.
func TestStartFails(t *testing.T) {
	nettest.Alone(t)
	for _, c := range []struct {
		name string
		s    Starter
		says string
	}{
		{"it fails", starter(t, "fails"), "ended at once: first line; last words"},
		{"it does not exist", Starter{Program: "/nowhere", LogDir: t.TempDir()}, "/nowhere"},
		{"no room for its log", Starter{Program: "/nowhere", LogDir: "/nowhere"}, "tunnel-wrn0.log"},
	} {
		err := c.s.Start(t.Context(), "wrn0", 1420)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "wrn0") {
			t.Errorf("%s: error %v, want one that says %q", c.name, err, c.says)
		}
	}
}

// TestStartWaits gives up on a process that never gets ready, and ends it.
func TestStartWaits(t *testing.T) {
	nettest.Alone(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := starter(t, "hangs").Start(ctx, "wrn0", 1420)
	if err == nil || !strings.Contains(err.Error(), "not ready in time") {
		t.Fatalf("error %v", err)
	}
	var pid int
	if _, after, ok := strings.Cut(err.Error(), "pid "); !ok {
		t.Errorf("error %v, want its last words", err)
	} else if pid, err = strconv.Atoi(after); err != nil || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		t.Errorf("process %d is still there (%v)", pid, err)
	}
}

// TestEnvironment keeps from a tunnel what is meant for its starter.
func TestEnvironment(t *testing.T) {
	nettest.Alone(t)
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	t.Setenv("WARREN_SECRET", "s3cret")
	t.Setenv("TZ", "Europe/Berlin")
	err := starter(t, "environment").Start(t.Context(), "wrn0", 1420)
	if err == nil || !strings.Contains(err.Error(), "TZ=Europe/Berlin") || strings.Contains(err.Error(), "NOTIFY") ||
		strings.Contains(err.Error(), "s3cret") {
		t.Errorf("environment: %v", err)
	}
}

// TestPortTaken brings an interface up while its port is taken, and wants it to work once it is free.
func TestPortTaken(t *testing.T) {
	nettest.NeedTUN(t)
	nettest.Alone(t)
	if err := starter(t).Start(t.Context(), "wrn0", 1420); err != nil {
		t.Fatal(err)
	}
	defer del(t, "wrn0")
	taken, err := net.ListenUDP("udp", &net.UDPAddr{Port: 51820})
	if err != nil {
		t.Fatal(err)
	}
	// Some kernels let the device come up before its interface; then it says at once that the port is taken.
	ask(t, "set=1\nlisten_port=51820\n\n")
	link, err := netlink.LinkByName("wrn0")
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		t.Fatal(err)
	}
	nettest.Eventually(t, "the device has tried and failed", func() bool {
		return !strings.Contains(ask(t, "get=1\n\n"), "listen_port=51820")
	})
	taken.Close()
	if answer := ask(t, "set=1\nlisten_port=51820\n\n"); !strings.HasPrefix(answer, "errno=0\n") {
		t.Fatalf("setting a free port: %q", answer)
	}
	nettest.Eventually(t, "the device listens", func() bool {
		c, err := net.ListenUDP("udp", &net.UDPAddr{Port: 51820})
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

func ask(t *testing.T, question string) string {
	t.Helper()
	c, err := net.Dial("unix", SocketPath("wrn0"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(question)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	n, err := c.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer[:n])
}

func del(t *testing.T, name string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil {
		t.Error(err)
	}
}
