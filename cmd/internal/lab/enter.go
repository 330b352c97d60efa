package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// What a re-executed process is to be stands in its argv[0] where its arguments are not the program's own, and in
// the environment where they are.
const (
	initName     = "warren-lab-init"
	intoName     = "warren-lab-into"
	envStage     = "WARREN_LAB"
	stageProgram = "program"
	stageHost    = "host"
	envHost      = "WARREN_LAB_HOST"

	// self names the binary of the calling process even where its path is hidden by one of the lab's mounts.
	self = "/proc/self/exe"
)

// Options of Enter.
type Options struct {
	// Files are open in the program inside the lab, from descriptor 3 on.
	Files []*os.File
	// Remove lists files, then directories (kept if not empty), to delete on the machine when the lab ends,
	// however it ends.
	Remove []string
}

// initConfig is what the outside tells process 1.
type initConfig struct {
	Files  int      `json:"files"`
	Remove []string `json:"remove"`
}

// enter starts process 1 of the lab with the program's arguments and waits for it.
//
// The lifeline is a pipe whose write end only this process holds. Process 1 ends when it closes, so the lab dies with
// this process however that dies; and unlike a parent-death signal it is bound to the process, not to one thread of
// it, and leaves process 1 the time to remove files.
func enter(args []string, o Options) (int, error) {
	defer removeAll(o.Remove)
	if os.Getenv(envStage) == stageHost {
		return 0, errors.New("this is a host of a lab already: leave it first (exit), then start another")
	}
	if err := preflight(); err != nil {
		return 0, err
	}
	alive, lifeline, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("making the lab's lifeline: %v", err)
	}
	defer closeAll(alive, lifeline)
	config, err := json.Marshal(initConfig{Files: len(o.Files), Remove: o.Remove})
	if err != nil {
		return 0, fmt.Errorf("describing the lab to its process 1: %v", err)
	}
	// No context: the lab ends with its program, or with this process.
	init := &exec.Cmd{
		Path:        self,
		Args:        append([]string{initName, string(config)}, args...),
		Stdin:       os.NewFile(0, "stdin"),
		Stdout:      os.NewFile(1, "stdout"),
		Stderr:      os.NewFile(2, "stderr"),
		ExtraFiles:  append([]*os.File{alive}, o.Files...),
		SysProcAttr: namespaces(),
	}
	// Signals are caught before there is somebody to pass them to: none gets lost in between.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, passedOn()...)
	defer signal.Stop(signals)
	if err := init.Start(); err != nil {
		return 0, explainClone(err, os.ReadFile)
	}
	go func() {
		for s := range signals {
			_ = init.Process.Signal(s) // it fails when the process has ended, which Wait reports
		}
	}()
	err = init.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return 0, fmt.Errorf("waiting for the lab: %v", err)
	}
	return ExitCode(init.ProcessState), nil
}

// namespaces says how process 1 is cloned. Root uses the rights it has; everybody else becomes root of a user
// namespace that maps this one user and nobody else.
func namespaces() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID,
		// A session of its own: Ctrl-C reaches the outer process only, which passes it on once.
		Setsid: true,
	}
	if !privileged() {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// passedOn are the signals that reach the program inside. What the user has ignored (nohup) stays ignored.
func passedOn() []os.Signal {
	signals := []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2}
	if !signal.Ignored(unix.SIGHUP) {
		signals = append(signals, unix.SIGHUP)
	}
	return signals
}

// removeAll deletes what the lab left on the machine. The other end may have been faster, and a directory may be
// in use by another lab: both are fine.
func removeAll(paths []string) {
	for _, path := range paths {
		_ = os.Remove(path)
	}
}

// closeAll closes files to which nothing was written: a failing Close has nothing to lose.
func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
