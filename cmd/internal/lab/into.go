package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// Exit codes of a command that could not be run, as shells have them.
const (
	codeCannotRun = 126
	codeNotFound  = 127
)

// runInto moves this process to a host and becomes the command: same process number, same open files.
func runInto(args []string) int {
	if len(args) < 2 {
		args = append(args, "?", "?")
	}
	err := into(args[1:])
	fmt.Fprintf(os.NewFile(2, "stderr"), "lab: %s on %s: %v\n", args[1], args[0], err)
	if errors.Is(err, exec.ErrNotFound) {
		return codeNotFound
	}
	return codeCannotRun
}

// into returns only when it fails.
func into(argv []string) error {
	runtime.LockOSThread() // execve turns this thread into the process
	wd, wdErr := os.Getwd()
	if err := enterSpaces(firstSpaceFD, firstSpaceFD+1, firstSpaceFD+2); err != nil {
		return err
	}
	// Entering a mount namespace leads to its root.
	if wdErr != nil || os.Chdir(wd) != nil {
		if err := os.Chdir("/"); err != nil {
			return err
		}
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	for fd := range 3 {
		unix.CloseOnExec(firstSpaceFD + fd)
	}
	return unix.Exec(path, argv, os.Environ())
}
