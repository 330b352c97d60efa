package lab_test

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/cmd/internal/lab/labtest"
)

// TestNothingIsLeft kills each process that a lab stands on. The lab is a program of its own; whether it is started
// from this lab or from the machine makes no difference to it.
func TestNothingIsLeft(t *testing.T) {
	for _, c := range []struct {
		victim string
		depth  int
		signal syscall.Signal
		code   int // of the process outside
	}{
		{"the process outside", 0, syscall.SIGKILL, -1},
		{"process 1", 1, syscall.SIGKILL, 137},
		{"the program", 2, syscall.SIGKILL, 137},
		{"the process outside, politely", 0, syscall.SIGTERM, 0},
	} {
		t.Run(c.victim, func(t *testing.T) {
			mountsBefore := mounts(t)
			leftover := filepath.Join(t.TempDir(), "leftover")
			outside := startHolding(t, leftover)
			lineage := descendants(t, outside.Process.Pid)
			if len(lineage) < 4 {
				t.Fatalf("the lab has only processes %v", lineage)
			}
			spaces := namespacesOf(t, lineage[1:])
			if err := syscall.Kill(lineage[c.depth], c.signal); err != nil {
				t.Fatal(err)
			}
			_ = outside.Wait()
			if code := outside.ProcessState.ExitCode(); code != c.code {
				t.Errorf("the process outside ended with %d, want %d", code, c.code)
			}
			eventually(t, "no process is left in the lab's namespaces", func() bool { return len(processesUsing(t, spaces)) == 0 })
			eventually(t, "the lab's file is gone", func() bool {
				_, err := os.Stat(leftover)
				return errors.Is(err, fs.ErrNotExist)
			})
			if after := mounts(t); after != mountsBefore {
				t.Errorf("mounts were\n%s\nand are\n%s", mountsBefore, after)
			}
		})
	}
}

// startHolding starts a program that has a lab and whose file goes away with it.
func startHolding(t *testing.T, leftover string) *exec.Cmd {
	t.Helper()
	if err := os.WriteFile(leftover, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, roleMark+"hold", leftover)
	cmd.Env = outsideEnvironment()
	cmd.Stderr = t.Output()
	cmd.WaitDelay = 20 * time.Second // for a lab that does not end, and goes on holding stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "holding\n" {
		_ = cmd.Process.Kill()
		t.Fatalf("the program says %q (%v)", line, err)
	}
	return cmd
}

// outsideEnvironment is that of a process in no lab.
func outsideEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "WARREN_LAB") })
}

// descendants are a process and all that come from it, parents first.
func descendants(t *testing.T, pid int) []int {
	t.Helper()
	lineage := []int{pid}
	for i := 0; i < len(lineage); i++ {
		tasks, err := filepath.Glob("/proc/" + strconv.Itoa(lineage[i]) + "/task/*/children")
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			children, err := os.ReadFile(task)
			if err != nil {
				continue // the thread has ended
			}
			for child := range strings.FieldsSeq(string(children)) {
				number, err := strconv.Atoi(child)
				if err != nil {
					t.Fatal(err)
				}
				lineage = append(lineage, number)
			}
		}
	}
	return lineage
}

// namespacesOf are the PID, network and mount namespaces that processes are in or hold open.
func namespacesOf(t *testing.T, pids []int) map[string]bool {
	t.Helper()
	spaces := make(map[string]bool)
	for _, pid := range pids {
		for _, pattern := range []string{"/ns/pid", "/ns/net", "/ns/mnt", "/fd/*"} {
			links, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + pattern)
			if err != nil {
				t.Fatal(err)
			}
			for _, link := range links {
				if target, err := os.Readlink(link); err == nil && isNamespace(target) {
					spaces[target] = true
				}
			}
		}
	}
	const lab, host = 3, 2 // it, and each host without a PID namespace of its own
	if len(spaces) != lab+2*host {
		t.Fatalf("the lab's namespaces are %v", spaces)
	}
	return spaces
}

func isNamespace(target string) bool {
	kind, _, _ := strings.Cut(target, ":[")
	return slices.Contains([]string{"pid", "net", "mnt"}, kind)
}

// processesUsing lists what keeps a namespace alive: processes in it and files of it that are open.
func processesUsing(t *testing.T, spaces map[string]bool) (users []string) {
	t.Helper()
	for _, pattern := range []string{"/proc/[0-9]*/ns/*", "/proc/[0-9]*/fd/*"} {
		links, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			if target, err := os.Readlink(link); err == nil && spaces[target] {
				users = append(users, link)
			}
		}
	}
	return users
}

func mounts(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestMountsStayInside: where this machine's mounts are shared, as systemd has them, those of a lab are not seen in it.
func TestMountsStayInside(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread and its mounts end with the test
	err := errors.Join(
		unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""))
	if err != nil {
		t.Fatal(err)
	}
	before := mounts(t)
	outside := startHolding(t, filepath.Join(t.TempDir(), "leftover"))
	if during := mounts(t); during != before {
		t.Errorf("mounts were\n%s\nand are, with a lab,\n%s", before, during)
	}
	if err := outside.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = outside.Wait()
}

// TestLabInsideALabIsRefused: started on a host by mistake, a program would otherwise build labs without end.
func TestLabInsideALabIsRefused(t *testing.T) {
	shop := labtest.New(t, twoHosts()).Host("shop")
	out, err := runRole(t, shop, "hold", "/nowhere")
	if err == nil || !strings.Contains(out, "host of a lab already") {
		t.Errorf("%v %s", err, out)
	}
}
