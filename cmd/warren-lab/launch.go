package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/internal/lab/control"
)

// launch starts this program once more, in the background, and shows what it says until the lab is up. What it says
// goes to a file that has no name, and so is gone with it.
func (a *app) launch(ctx context.Context, place control.Place, o upOptions) error {
	fd, err := unix.MemfdCreate("warren-lab", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("making a log for the lab: %v", err)
	}
	log := os.NewFile(uintptr(fd), "log")
	defer func() { _ = log.Close() }()
	path, err := os.Executable()
	if err != nil {
		return err
	}
	// No context: it is to outlive this process.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, "up", "--name", a.name,
		"--hosts", strings.Join(o.hosts, ","), "--lans="+strconv.FormatBool(o.lans))
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the lab: %v", err)
	}
	up, ended := make(chan error, 1), make(chan struct{})
	go func() { up <- awaitUp(ctx, place) }()
	go func() {
		_ = cmd.Wait() // why it has ended is in the log
		close(ended)
	}()
	return a.watch(ctx, &relay{from: log, to: a.proc.Stderr}, cmd, up, ended)
}

// watch returns when the lab is up, or has ended without.
func (a *app) watch(ctx context.Context, log *relay, cmd *exec.Cmd, up <-chan error, ended <-chan struct{}) error {
	defer log.copy()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	interrupted := ctx.Done()
	for {
		select {
		case <-ticker.C:
			log.copy()
		case err := <-up:
			if err == nil {
				return nil
			}
			up = nil // it will end, or has: it says why
		case <-ended:
			return cli.Exit(cli.ExitFailed)
		case <-interrupted:
			interrupted = nil
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return fmt.Errorf("ending the lab: %v", err)
			}
		}
	}
}

// awaitUp asks the lab for its status as soon as it can be asked; it answers when it is up.
func awaitUp(ctx context.Context, place control.Place) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		client, err := place.Dial(ctx)
		if err == nil {
			defer func() { _ = client.Close() }()
			return client.Status(&status{})
		}
		if !errors.Is(err, control.ErrNotRunning) {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A relay copies what is appended to a file, whose own position it leaves alone: that is the writer's.
type relay struct {
	from *os.File
	to   io.Writer
	done int64
}

func (r *relay) copy() {
	n, _ := io.Copy(r.to, io.NewSectionReader(r.from, r.done, 1<<40)) // what cannot be shown now may be next time
	r.done += n
}
