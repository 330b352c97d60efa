package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
)

// Daemon is a process that Host.Start has started.
type Daemon struct {
	name string
	host string
	cmd  *exec.Cmd
	log  string

	ready <-chan struct{}
	done  chan struct{}
}

// Start starts a daemon on the host. Its output goes to a log, which it shares with earlier daemons of that name.
func (h *Host) Start(name string, argv ...string) (*Daemon, error) {
	if !regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`).MatchString(name) {
		return nil, fmt.Errorf("daemon name %q: at most 31 of a-z, 0-9 and -, a letter first", name)
	}
	d := &Daemon{
		name: name, host: h.Name(), log: filepath.Join(h.dir("log"), name+".log"), done: make(chan struct{}),
		// No context: it runs until somebody stops it, or the lab ends.
		cmd: h.Command(context.Background(), argv...),
	}
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer closeAll(log)
	notify := "/run/notify-" + name
	socket, err := listenNotify(h.Path(notify))
	if err != nil {
		return nil, fmt.Errorf("making the notify socket of %s on %s: %v", name, h.Name(), err)
	}
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.Env = append(d.cmd.Env, "NOTIFY_SOCKET="+notify)
	d.ready = awaitReady(socket)
	if err := d.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s on %s: %v", name, h.Name(), err), socket.Close())
	}
	go func() {
		_ = d.cmd.Wait() // ExitCode tells how it ended
		_ = socket.Close()
		close(d.done)
	}()
	h.mu.Lock()
	h.daemons = append(h.daemons, d)
	h.mu.Unlock()
	return d, nil
}

// Daemons are those started since the host's last boot, also those that have ended.
func (h *Host) Daemons() []*Daemon {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]*Daemon(nil), h.daemons...)
}

// Name is the name given to Start.
func (d *Daemon) Name() string { return d.name }

// PID is the number of the process, in the lab.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Ready waits until the daemon has said READY=1 on its NOTIFY_SOCKET. It is an error if it ends before that.
func (d *Daemon) Ready(ctx context.Context) error {
	select {
	case <-d.ready:
		return nil
	case <-d.done:
		return fmt.Errorf("%s on %s ended with code %d before it was ready; its log:\n%s", d.name, d.host, d.ExitCode(),
			d.Log())
	case <-ctx.Done():
		return fmt.Errorf("%s on %s is not ready: %w; its log:\n%s", d.name, d.host, ctx.Err(), d.Log())
	}
}

// Signal sends the daemon a signal.
func (d *Daemon) Signal(sig syscall.Signal) error { return d.cmd.Process.Signal(sig) }

// Kill sends SIGKILL and waits for the end. It is no error if the daemon has ended already.
func (d *Daemon) Kill() error {
	if err := d.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing %s on %s: %v", d.name, d.host, err)
	}
	<-d.done
	return nil
}

// Stop sends SIGTERM and waits for the end. When ctx is done first the daemon is killed, and that is an error.
func (d *Daemon) Stop(ctx context.Context) error {
	if err := d.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s on %s: %v", d.name, d.host, err)
	}
	select {
	case <-d.done:
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("%s on %s does not stop on SIGTERM: %w", d.name, d.host, ctx.Err()), d.Kill())
	}
}

// Done is closed when the process has ended.
func (d *Daemon) Done() <-chan struct{} { return d.done }

// ExitCode is the code of a daemon that is Done, or 128 + the number of the signal that ended it.
func (d *Daemon) ExitCode() int { return ExitCode(d.cmd.ProcessState) }

// Log is what daemons of this name have written on this host so far, reboots included.
func (d *Daemon) Log() string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	return string(text)
}
