package lab_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/lab/labtest"
)

// roleMark before the name of a role, as first argument, makes the test binary one of the ordinary processes that the
// tests run on hosts.
const roleMark = "role:"

// self is the test binary, wherever it is.
const self = "/proc/self/exe"

func TestMain(m *testing.M) {
	lab.Reexec()
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], roleMark) {
		if err := roles()[os.Args[1][len(roleMark):]](os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			syscall.Exit(1)
		}
		syscall.Exit(0)
	}
	labtest.Main(m)
}

func roles() map[string]func(args []string) error {
	return map[string]func([]string) error{
		"echo":  echo,
		"probe": probe,
		"hold":  hold,
		"leave": leaveChild,
		"wait":  func([]string) error { return wait() },
	}
}

// echo answers TCP and UDP on port 7 with the address of the caller, as a real server would see it.
func echo([]string) error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", ":7")
	if err != nil {
		return err
	}
	packets, err := (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", ":7")
	if err != nil {
		return err
	}
	if err := sayReady(); err != nil {
		return err
	}
	go func() {
		buffer := make([]byte, 1500)
		for {
			_, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(from.String())
			_, _ = packets.WriteTo([]byte(host), from)
		}
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		_, _ = io.WriteString(conn, host)
		_ = conn.Close()
	}
}

func sayReady() error {
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return err
	}
	_, err = io.WriteString(conn, "STATUS=listening\nREADY=1")
	return errors.Join(err, conn.Close())
}

// probe asks the echo server and prints its answer: probe NETWORK ADDRESS TIMEOUT.
func probe(args []string) error {
	timeout, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(context.Background(), args[0], net.JoinHostPort(args[1], "7"))
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if strings.HasPrefix(args[0], "udp") {
		if _, err := io.WriteString(conn, "?"); err != nil {
			return err
		}
	}
	answer := make([]byte, 100)
	n, err := conn.Read(answer)
	fmt.Printf("%s", answer[:n])
	return err
}

// hold is a program that keeps a lab with a daemon until it is killed: hold FILE, which goes away with the lab.
func hold(args []string) error {
	if err := lab.Enter(lab.Options{Remove: args}); err != nil {
		return err
	}
	l, err := lab.New(twoHosts())
	if err != nil {
		return err
	}
	daemon, err := startRole(l.Host("shop"), "echo")
	if err != nil {
		return err
	}
	if err := daemon.Ready(context.Background()); err != nil {
		return err
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	fmt.Println("holding")
	<-terminated
	return nil
}

// leaveChild starts a child that leaves its session and parent, as a tunnel's process does, and ends.
func leaveChild([]string) error {
	child := exec.CommandContext(context.Background(), self, roleMark+"wait")
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return err
	}
	fmt.Println(child.Process.Pid)
	return nil
}

func wait() error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	return nil
}

func twoHosts() lab.Topology {
	return lab.Topology{Hosts: []lab.HostSpec{{Name: "shop"}, {Name: "warehouse"}}}
}

// startRole starts the test binary on the host, in a role.
func startRole(h *lab.Host, role string) (*lab.Daemon, error) {
	return h.Start(role, self, roleMark+role)
}

// startReady is startRole of a role that says when it is ready.
func startReady(t *testing.T, h *lab.Host, role string) *lab.Daemon {
	t.Helper()
	daemon, err := startRole(h, role)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := daemon.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return daemon
}

// runRole runs the test binary on the host, in a role.
func runRole(t *testing.T, h *lab.Host, role string, args ...string) (string, error) {
	t.Helper()
	out, err := h.Command(t.Context(), append([]string{self, roleMark + role}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(20 * time.Second); !condition(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
