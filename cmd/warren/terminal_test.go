package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// terminal CODE FILE COMMAND… runs a command with a terminal of 24 lines as stdout and stderr, and keeps
// what it would show in FILE. A command that watches is interrupted at its second frame.
func terminal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: terminal CODE FILE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	master, slave, err := openTerminal()
	ts.Check(err)
	defer master.Close()
	path, err := findIn(ts.Getenv("PATH"), args[2])
	ts.Check(err)
	cmd := exec.CommandContext(context.Background(), path, args[3:]...)
	cmd.Stdout, cmd.Stderr = slave, slave
	for _, name := range []string{"HOME", "PATH", "NO_COLOR", "TERM", "WARREN_AGENT", "WARREN_CONTROLLER"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(cmd.Start())
	slave.Close()
	shown := look(master, func() { ts.Check(cmd.Process.Signal(os.Interrupt)) })
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != want {
		ts.Fatalf("%q: %v, want exit code %d\n%s", args[2:], err, want, shown)
	}
	text := strings.ReplaceAll(string(shown), "\r\n", "\n")
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.ReplaceAll(text, "\x1b", "ESC")), 0o600))
}

// look reads what a terminal shows until the last one at the other end is gone, and calls enough at the
// second frame of --watch.
func look(master io.Reader, enough func()) []byte {
	var shown []byte
	piece := make([]byte, 4096)
	for frames := 0; ; {
		n, err := master.Read(piece)
		shown = append(shown, piece[:n]...)
		if err != nil {
			return shown
		}
		if now := strings.Count(string(shown), clearBelow); now != frames {
			if frames = now; frames == 2 {
				enough()
			}
		}
	}
}

// findIn finds a program in the script's own path.
func findIn(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("no %s in %s", name, path)
}

// openTerminal makes a pseudo-terminal (pts(4)).
func openTerminal() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100})
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, slave, nil
}
