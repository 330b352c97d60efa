package tunnel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	endsWithin = 2 * time.Second  // a process whose interface is gone, by itself
	diesWithin = 10 * time.Second // one that was killed
)

// Hold takes hold of the process that serves an interface which is about to be deleted. The function that it
// gives returns when the process has ended; one that hangs is killed, because it would keep its port. Where
// there is no such process, it only removes what one has left.
func (s Starter) Hold(name string) (end func(context.Context) error) {
	process, err := serverOf(name)
	return func(ctx context.Context) error {
		if err != nil {
			return fmt.Errorf("find the tunnel process of %s: %w", name, err)
		}
		if process != nil {
			defer process.Close()
			if err := finish(ctx, process); err != nil {
				return fmt.Errorf("end the tunnel process of %s: %w", name, err)
			}
		}
		return removeStale(name)
	}
}

// serverOf gives a pidfd of the process that listens for an interface; nil where nobody does.
func serverOf(name string) (*os.File, error) {
	c, err := net.DialTimeout("unix", SocketPath(name), dialWithin)
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer c.Close()
	pid, err := listenerPID(c)
	if err != nil {
		return nil, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	process := os.NewFile(uintptr(fd), "process")
	if !isTunnel(pid, name) {
		return nil, errors.Join(fmt.Errorf("process %d, which listens at %s, is none of ours", pid, SocketPath(name)), process.Close())
	}
	return process, nil
}

// listenerPID asks the kernel who listens at the other end of a connection. That works for a process that hangs, too.
func listenerPID(c net.Conn) (pid int, err error) {
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var got error
	if err := raw.Control(func(fd uintptr) {
		cred, got = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || got != nil {
		return 0, errors.Join(err, got)
	}
	return int(cred.Pid), nil
}

// isTunnel tells by its arguments a process that this package has started for an interface.
func isTunnel(pid int, name string) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(line, []byte("\x00--interface\x00"+name+"\x00"))
}

// finish waits for the end of a process, and brings it about.
func finish(ctx context.Context, process *os.File) error {
	if ended(ctx, process, endsWithin) {
		return nil
	}
	if err := unix.PidfdSendSignal(int(process.Fd()), unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	if !ended(ctx, process, diesWithin) {
		return errors.New("it was killed and does not end")
	}
	return nil
}

// ended waits for the end of a process for a while.
func ended(ctx context.Context, process *os.File, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		poll := []unix.PollFd{{Fd: int32(process.Fd()), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, 0); n > 0 && err == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// removeStale removes the socket of a process that is gone, and the directory of these sockets where it was the last.
func removeStale(name string) error {
	if other, err := net.DialTimeout("unix", SocketPath(name), dialWithin); err == nil {
		return errors.Join(other.Close(), fmt.Errorf("another process answers at %s", SocketPath(name)))
	}
	if err := os.Remove(SocketPath(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove a socket that nobody listens at: %w", err)
	}
	leave(SocketPath(name))
	return nil
}
