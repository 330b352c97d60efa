package nettest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// insideVariable is set in the process that runs the tests.
const insideVariable = "WARREN_TEST_INSIDE"

// Main runs the tests of a package in a process with a network, a /run and, unless it is root's, a user of
// its own, and returns the exit code. What the tests leave running is ended, and fails them. A command is
// what the test program does instead when the first of its arguments is the command's name.
func Main(m interface{ Run() int }, args []string, out *os.File, commands map[string]func(args []string) error) int {
	if len(args) > 1 && commands[args[1]] != nil {
		return code(commands[args[1]](args[2:]))
	}
	if os.Getenv(insideVariable) == "" {
		return outside(args, out)
	}
	if err := furnish(); err != nil {
		return code(err)
	}
	return m.Run()
}

func code(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// outside runs the tests inside and ends what they leave behind: orphans become our children.
func outside(args []string, out *os.File) int {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return code(fmt.Errorf("become the reaper of the tests: %v", err))
	}
	cmd := exec.Command("/proc/self/exe", args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	err := cmd.Run()
	left := reap()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(1, exit.ExitCode())
	case err != nil:
		return code(fmt.Errorf("the tests need namespaces of their own: %v", err))
	case left > 0:
		return code(fmt.Errorf("the tests left %d processes behind", left))
	}
	return 0
}

// leaving is how long processes may take to end after the tests, which know when their networks are gone.
const leaving = 2 * time.Second

// reap waits for our children, ends those that stay, and says how many these are.
func reap() (left int) {
	deadline := time.NewTimer(leaving)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		for ended := 1; ended > 0; {
			var err error
			if ended, err = syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != nil {
				return left // there are no more
			}
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			left = killChildren()
			deadline.Reset(leaving)
		}
	}
}

// killChildren ends our children and says how many there were.
func killChildren() (killed int) {
	list, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", unix.Getpid()))
	if err != nil {
		return 0
	}
	for child := range strings.FieldsSeq(string(list)) {
		if pid, err := strconv.Atoi(child); err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	return killed
}

// furnish gives the process a /run of its own, where the sockets of tunnels are.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %v", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %v", err)
	}
	return nil
}
