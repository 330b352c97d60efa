package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// runInit is process 1 of the lab: it makes the mounts, starts the program, passes signals on, reaps orphans and
// ends with the program's status. With it the kernel ends every process of the lab, and with them the namespaces.
func runInit(args []string) int {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, passedOn()...)
	code, err := superviseProgram(args, signals)
	if err != nil {
		fmt.Fprintln(os.NewFile(2, "stderr"), "lab:", err)
		return 1
	}
	return code
}

func superviseProgram(args []string, signals <-chan os.Signal) (int, error) {
	if len(args) < 2 {
		return 0, fmt.Errorf("process 1 of a lab is started by Enter only")
	}
	var config initConfig
	if err := json.Unmarshal([]byte(args[0]), &config); err != nil {
		return 0, fmt.Errorf("process 1 of the lab: reading its configuration: %v", err)
	}
	remove := remover(config.Remove) // before the mounts hide the places
	defer remove()
	go watchLifeline(remove)
	if err := makeMounts(); err != nil {
		return 0, err
	}
	if err := raise("lo"); err != nil {
		return 0, err
	}
	program, err := startProgram(args[1:], config.Files)
	if err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			if number, ok := s.(syscall.Signal); ok {
				_ = unix.Kill(program, number) // it fails when the program has ended, which is seen below
			}
		}
	}()
	return reapUntil(program)
}

// startProgram executes the same command line again, which finds itself inside.
func startProgram(args []string, files int) (int, error) {
	fds := []uintptr{0, 1, 2}
	for i := range files {
		fds = append(fds, uintptr(4+i)) // 3 is the lifeline
	}
	if err := os.Setenv(envStage, stageProgram); err != nil {
		return 0, err
	}
	pid, err := syscall.ForkExec(self, args, &syscall.ProcAttr{Env: os.Environ(), Files: fds})
	if err != nil {
		return 0, fmt.Errorf("starting %s inside the lab: %v", args[0], err)
	}
	return pid, nil
}

// reapUntil collects every child, adopted orphans too, until the program itself has ended.
func reapUntil(program int) (int, error) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, fmt.Errorf("waiting for the program inside the lab: %v", err)
		case pid == program && status.Signaled():
			return 128 + int(status.Signal()), nil
		case pid == program:
			return status.ExitStatus(), nil
		}
	}
}

// watchLifeline ends the lab when the process outside is gone.
func watchLifeline(remove func()) {
	lifeline := os.NewFile(3, "lifeline")
	_, _ = io.Copy(io.Discard, lifeline) // nobody writes: it returns at the end of the other process
	remove()
	unix.Exit(128 + int(unix.SIGKILL))
}

// remover holds on to the directories of the paths, and deletes the paths when called. It works where the paths
// themselves can no longer be reached.
func remover(paths []string) func() {
	var deletes []func()
	for _, path := range paths {
		root, err := os.OpenRoot(filepath.Dir(path))
		if err != nil {
			continue // what is not there needs no deleting
		}
		deletes = append(deletes, func() { _ = root.Remove(filepath.Base(path)) })
	}
	return func() {
		for _, remove := range deletes {
			remove()
		}
	}
}
