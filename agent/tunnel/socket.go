package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// directory is where wg(8) and wgctrl look for the sockets of userspace tunnels.
const directory = "/var/run/wireguard"

// SocketPath is where the tunnel of an interface is configured.
func SocketPath(name string) string { return filepath.Join(directory, name+".sock") }

const (
	leaving    = 3 * time.Second // for a process whose interface is gone to let go of its socket
	lookAgain  = 20 * time.Millisecond
	dialWithin = time.Second
)

// A socket listens at a path and takes the path back when somebody removes the file, as the clean-up of
// a runtime directory does. Without its socket a tunnel could be neither seen nor changed, and to end it
// for that would cut off its peers.
type socket struct {
	path string

	mu       sync.Mutex // guards what follows
	listener *net.UnixListener
	closed   bool
}

// listen takes the path. A file that nobody listens behind is replaced. Where somebody does, that is a
// process whose interface has just been deleted (ours did not exist before), so it is about to leave.
func listen(ctx context.Context, path string) (*socket, error) {
	ctx, cancel := context.WithTimeout(ctx, leaving)
	defer cancel()
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, fmt.Errorf("make room for the socket of the tunnel: %v", err)
		}
		l, err := take(path)
		if err == nil {
			return &socket{path: path, listener: l}, nil
		}
		// The last one to leave takes the directory along.
		gone := errors.Is(err, os.ErrNotExist)
		if !gone && !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("listen at %s: %v", path, err)
		}
		select {
		case <-ctx.Done():
			if gone {
				return nil, fmt.Errorf("listen at %s: %v", path, err)
			}
			return nil, fmt.Errorf("another process answers at %s; see: fuser %s", path, path)
		case <-tick.C:
		}
	}
}

// take listens at the path unless somebody else does, which is EADDRINUSE.
func take(path string) (*net.UnixListener, error) {
	other, err := net.DialTimeout("unix", path, dialWithin)
	switch {
	case err == nil:
		other.Close()
		return nil, syscall.EADDRINUSE
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// serve answers every connection until ctx ends. An error, of too many open files perhaps, is no reason to
// stop forwarding: renew may have put another listener in the place of this one, or the next try goes well.
func (s *socket) serve(ctx context.Context, answer func(net.Conn)) {
	for ctx.Err() == nil {
		s.mu.Lock()
		l := s.listener
		s.mu.Unlock()
		c, err := l.Accept()
		if err == nil {
			go answer(c)
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookAgain):
		}
	}
}

// renew listens at the path again if the file is gone. What cannot be mended now is tried again.
func (s *socket) renew() {
	if _, err := os.Lstat(s.path); !errors.Is(err, os.ErrNotExist) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || os.MkdirAll(filepath.Dir(s.path), 0o700) != nil {
		return
	}
	fresh, err := take(s.path)
	if err != nil {
		return
	}
	old := s.listener
	s.listener = fresh
	old.SetUnlinkOnClose(false)
	old.Close()
}

// Close removes the file, and the directory if it was the last in it, and stops serve.
func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.listener.Close()
	leave(s.path)
	return err
}

// leave removes the directory of a socket unless it is needed. Under systemd it is the unit's, and stays.
func leave(path string) { _ = os.Remove(filepath.Dir(path)) }
