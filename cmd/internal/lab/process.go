package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killAll kills every process in the mount namespace, also those that have left their parent (a tunnel's process
// does), and returns when they are gone.
func killAll(mounts *os.File) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		pids, err := processesIn(mounts)
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end", pids)
		}
		for _, pid := range pids {
			if err := killAndWait(pid, deadline); err != nil {
				return err
			}
		}
	}
}

// killAndWait returns when the process has ended.
func killAndWait(pid int, deadline time.Time) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at process %d: %v", pid, err)
	}
	process := os.NewFile(uintptr(fd), "process")
	defer closeAll(process)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("killing process %d: %v", pid, err)
	}
	if err := AwaitEnd(process, deadline); err != nil {
		return fmt.Errorf("killed process %d: %v", pid, err)
	}
	return nil
}

// AwaitEnd returns when the process of a pidfd has ended, though it may still wait to be reaped.
func AwaitEnd(process *os.File, deadline time.Time) error {
	ended := []unix.PollFd{{Fd: int32(process.Fd()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(ended, max(0, int(time.Until(deadline).Milliseconds())))
		switch {
		case errors.Is(err, unix.EINTR):
		case err == nil && n == 0:
			return errors.New("it does not end")
		default:
			return err
		}
	}
}

// processesIn lists the processes in a mount namespace.
func processesIn(mounts *os.File) ([]int, error) {
	want, err := mounts.Stat()
	if err != nil {
		return nil, fmt.Errorf("looking at the host's namespace: %v", err)
	}
	entries, err := filepath.Glob("/proc/[0-9]*/ns/mnt")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range entries {
		// Processes that have ended meanwhile, and those of other users, cannot be looked at: none is the host's.
		if got, err := os.Stat(entry); err != nil || !os.SameFile(got, want) {
			continue
		}
		if pid, ok := pidInLab(strings.TrimSuffix(entry, "ns/mnt")); ok {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// pidInLab is a process's number in the innermost PID namespace, which is the lab's: a /proc that could not be mounted
// afresh names processes by another number.
func pidInLab(dir string) (int, bool) {
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(status)) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(numbers)
			if len(fields) == 0 {
				return 0, false
			}
			pid, err := strconv.Atoi(fields[len(fields)-1])
			return pid, err == nil
		}
	}
	return 0, false
}

// ExitCode of an ended process as a shell has it: 128 + the number of the signal that ended it.
func ExitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
