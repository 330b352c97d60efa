package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab/labtest"
)

// A user runs warren-lab, in a directory of its programs, with a place of their own for sockets.
type user struct {
	t       *testing.T
	dir     string
	runtime string
	attr    *syscall.SysProcAttr
}

func newUser(t *testing.T, attr *syscall.SysProcAttr) *user {
	t.Helper()
	dir := labtest.CopyBinary(t, "warren-lab", "warren", "warren-agent", "warren-controller")
	u := &user{t: t, dir: dir, runtime: filepath.Join(dir, "run"), attr: attr}
	if err := os.Mkdir(u.runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	if attr != nil {
		if err := os.Chown(u.runtime, int(attr.Credential.Uid), int(attr.Credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		_, _, _ = u.lab("down") // of a test that has failed
	})
	return u
}

func (u *user) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(u.dir, "warren-lab"), args...) // the clean-up outlives the test's context
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+u.runtime, "SHELL=/bin/sh", "MARK=from the caller",
		"GORACE=atexit_sleep_ms=0") // by default a program with the race detector takes a second to end
	cmd.SysProcAttr = u.attr
	cmd.Dir = "/tmp"
	return cmd
}

// lab runs warren-lab to its end.
func (u *user) lab(args ...string) (stdout, stderr string, code int) {
	u.t.Helper()
	var out, errs bytes.Buffer
	cmd := u.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		u.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestLabFromUpToDown(t *testing.T) { fromUpToDown(newUser(t, nil)) }
func TestLabFromUpToDownAsOrdinaryUser(t *testing.T) {
	fromUpToDown(newUser(t, labtest.OrdinaryUser(t)))
}

// fromUpToDown is one test and no subtests: an ordinary user's commands start from one goroutine.
func fromUpToDown(u *user) {
	t := u.t
	_, guide, code := u.lab("up", "--detach", "--hosts", "shop,warehouse")
	if code != 0 || !strings.Contains(guide, "warren-lab exec shop -- warren status") {
		t.Fatalf("up: code %d, %s", code, guide)
	}
	for _, c := range []struct {
		args   []string
		stdout string
		code   int
	}{
		{[]string{"exec", "shop", "--", "hostname"}, "shop\n", 0},
		{[]string{"exec", "warehouse", "hostname"}, "warehouse\n", 0},
		{[]string{"exec", "warehouse-pc", "hostname"}, "warehouse-pc\n", 0},
		{[]string{"exec", "shop", "--", "sh", "-c", "echo $MARK; pwd; exit 42"}, "from the caller\n/tmp\n", 42},
		{[]string{"exec", "shop", "--", "sh", "-c", "kill -9 $$"}, "", 137},
		{[]string{"exec", "shop", "no-such-program"}, "", 127},
		{[]string{"exec", "shop", "--", "ls", "/var/lib"}, "enrolled\n", 0},
		{[]string{"exec", "controller", "--", "ls", "/var/lib"}, "", 0},
		{[]string{"exec", "internet", "--", "ls", "/sys/class/net/../net", "-d"}, "/sys/class/net/../net\n", 0},
		{[]string{"exec", "nowhere", "hostname"}, "", 1},
		{[]string{"exec"}, "", 2},
		{[]string{"up", "--hosts", "controller"}, "", 2},
		{[]string{"up", "--hosts", "Not A Name"}, "", 2},
		{[]string{"up", "--detach"}, "", 1},
		{[]string{"status", "--name", "another"}, "", 4},
	} {
		if stdout, stderr, code := u.lab(c.args...); stdout != c.stdout || code != c.code {
			t.Errorf("%v: %q and code %d, want %q and %d; %s", c.args, stdout, code, c.stdout, c.code, stderr)
		}
	}
	u.checkStdin()
	u.checkSignals()
	u.checkStatus()
	if _, stderr, code := u.lab("down"); code != 0 {
		t.Errorf("down: code %d, %s", code, stderr)
	}
	u.checkNothingIsLeft()
	if _, stderr, code := u.lab("down"); code != 4 || !strings.Contains(stderr, "not running") {
		t.Errorf("down again: code %d, %s", code, stderr)
	}
}

// checkNothingIsLeft looks for files and for processes of this user's programs.
func (u *user) checkNothingIsLeft() {
	if left, err := os.ReadDir(u.runtime); err != nil || len(left) > 0 {
		u.t.Errorf("%v is left (%v)", left, err)
	}
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		u.t.Fatal(err)
	}
	for _, link := range links {
		if program, err := os.Readlink(link); err == nil && strings.HasPrefix(program, u.dir) {
			u.t.Errorf("process %s still runs %s", link, program)
		}
	}
}

func (u *user) checkStdin() {
	cmd := u.command("exec", "shop", "--", "sh", "-c", "cat; echo stderr >&2")
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(strings.Repeat("order\n", 100_000)), &errs
	out, err := cmd.Output()
	if err != nil || len(out) != 600_000 || errs.String() != "stderr\n" {
		u.t.Errorf("exec passed %d of 600000 bytes and on stderr %q (%v)", len(out), errs.String(), err)
	}
}

// checkSignals interrupts a command, and kills a caller, which hangs up.
func (u *user) checkSignals() {
	for _, c := range []struct {
		send, arrives string
		signal        syscall.Signal
		code          int
	}{{"SIGINT", "INT", syscall.SIGINT, 5}, {"SIGKILL", "HUP", syscall.SIGKILL, -1}} {
		trap := fmt.Sprintf("trap 'touch /run/got-%s; exit 5' %s; echo ready; while :; do sleep 0.05; done", c.send, c.arrives)
		cmd := u.command("exec", "shop", "--", "sh", "-c", trap)
		stdout, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			_, err = stdout.Read(make([]byte, 6)) // the trap is set
		}
		if err == nil {
			err = cmd.Process.Signal(c.signal)
		}
		if err != nil {
			u.t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			u.t.Errorf("after %s the caller's code is %d, want %d", c.send, code, c.code)
		}
		if _, stderr, code := u.lab("exec", "shop", "--", "sh", "-c",
			fmt.Sprintf("for i in $(seq 200); do test -e /run/got-%s && exit; sleep 0.05; done; exit 1", c.send)); code != 0 {
			u.t.Errorf("the command has not got %s when its caller got %s: %s", c.arrives, c.send, stderr)
		}
	}
}

func (u *user) checkStatus() {
	t := u.t
	stdout, stderr, code := u.lab("status", "-o", "json")
	var s status
	if err := json.Unmarshal([]byte(stdout), &s); err != nil || code != 0 {
		t.Fatalf("status: code %d, %v, %s %s", code, err, stdout, stderr)
	}
	var names []string
	for _, host := range s.Hosts {
		names = append(names, host.Name)
		if host.Address == "" || len(host.Processes) != 1 || !host.Processes[0].Running {
			t.Errorf("status of %+v", host)
		}
	}
	machines := []machineStatus{{"shop-pc", "10.10.0.10", "fd00:0:0:a::a"}, {"warehouse-pc", "10.20.0.10", "fd00:0:0:14::a"}}
	if !slices.Equal(s.Machines, machines) {
		t.Errorf("the machines are %v, want %v", s.Machines, machines)
	}
	if s.Hosts[2].LAN != "10.20.0.1" || s.Hosts[0].LAN != "" {
		t.Errorf("the hosts have on their LANs %+v", s.Hosts)
	}
	if want := []string{"controller", "shop", "warehouse"}; !slices.Equal(names, want) || time.Since(s.Since) > time.Hour {
		t.Errorf("status of hosts %v since %v, want %v", names, s.Since, want)
	}
	if _, stderr, code := u.lab("exec", "shop", "--", "kill", fmt.Sprint(s.Hosts[1].Processes[0].PID)); code != 0 {
		t.Errorf("killing the agent: %s", stderr)
	}
	deadline := time.Now().Add(10 * time.Second)
	for code = 0; code != 3 && time.Now().Before(deadline); {
		stdout, _, code = u.lab("status")
	}
	if !strings.Contains(stdout, "warren-agent ended with 0") || code != 3 {
		t.Errorf("status after the agent's end: code %d, %s", code, stdout)
	}
}

func TestErrorsAreJSONWhereAskedFor(t *testing.T) {
	stdout, _, code := newUser(t, nil).lab("status", "-o", "json")
	var answer struct {
		Error struct{ Code, Message, Hint string }
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || code != 4 ||
		answer.Error.Code != "not-running" || !strings.Contains(answer.Error.Hint, "warren-lab up") {
		t.Errorf("code %d, %s (%v)", code, stdout, err)
	}
}

func TestUpThatFailsShowsWhy(t *testing.T) {
	for _, args := range [][]string{{"up"}, {"up", "--detach"}} {
		u := newUser(t, nil)
		t.Setenv("LAB_TEST_FAIL", "1")
		_, stderr, code := u.lab(args...)
		if code != 1 || !strings.Contains(stderr, "\nfirst line of the reason\nsecond line of the reason\n") {
			t.Errorf("%v: code %d, %s", args, code, stderr)
		}
		u.checkNothingIsLeft()
	}
}

func TestMissingProgramsAreNamed(t *testing.T) {
	u := newUser(t, nil)
	if err := os.Remove(filepath.Join(u.dir, "warren-agent")); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := u.lab("up"); code != 1 || !strings.Contains(stderr, "warren-agent") ||
		!strings.Contains(stderr, "make build") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

// TestInterruptedUp is how a lab in the foreground ends: Ctrl-C.
func TestInterruptedUp(t *testing.T) {
	u := newUser(t, nil)
	cmd := u.command("up", "--hosts", "shop")
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var said []byte
	for buffer := make([]byte, 4096); !bytes.Contains(said, []byte("is left behind")); {
		n, err := stderr.Read(buffer)
		said = append(said, buffer[:n]...)
		if err != nil {
			t.Fatalf("up says only %s", said)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	u.checkNothingIsLeft()
}
