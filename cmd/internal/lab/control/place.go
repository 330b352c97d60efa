package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

var (
	// ErrRunning is returned by Listen where a lab of that name runs already.
	ErrRunning = errors.New("it is running already")
	// ErrNotRunning is returned by Dial where no lab of that name runs.
	ErrNotRunning = errors.New("it is not running")
	// ErrEnded is returned by a Client whose lab has ended before it answered.
	ErrEnded = errors.New("the lab has ended")
)

// A Place is where the socket of a lab is: in a directory that is the user's alone.
type Place struct {
	dir  string
	name string
}

// At is the place of the named lab of this user. Env is os.Getenv, or a test's.
func At(name string, env func(string) string) (Place, error) {
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}$`).MatchString(name) {
		return Place{}, fmt.Errorf("name of a lab %q: at most 31 of a-z, 0-9 and -", name)
	}
	dir := fmt.Sprintf("/tmp/warren-lab-%d", os.Geteuid())
	if runtime := env("XDG_RUNTIME_DIR"); filepath.IsAbs(runtime) {
		dir = filepath.Join(runtime, "warren-lab")
	}
	return Place{dir: dir, name: name}, nil
}

// Files are what a lab has on the machine, in the order in which they can be removed.
func (p Place) Files() []string { return []string{p.socket(), p.dir} }

func (p Place) socket() string { return filepath.Join(p.dir, p.name+".sock") }

// Listen makes the socket and returns it as a file that a process inside the lab can inherit.
func (p Place) Listen(ctx context.Context) (*os.File, error) {
	if err := os.Mkdir(p.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := p.checkOwner(); err != nil {
		return nil, err
	}
	if conn, err := p.dial(ctx); err == nil {
		return nil, errors.Join(ErrRunning, conn.Close())
	}
	// What is there now was left by a lab that was killed together with the process that would have removed it.
	if err := os.Remove(p.socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: p.socket(), Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	file, err := listener.File()
	return file, errors.Join(err, listener.Close())
}

// Dial connects to the lab.
func (p Place) Dial(ctx context.Context) (*Client, error) {
	if err := p.checkOwner(); err != nil {
		return nil, err
	}
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	return &Client{conn: conn}, nil
}

func (p Place) dial(ctx context.Context) (*net.UnixConn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", p.socket())
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNotRunning
	case err != nil:
		return nil, err
	}
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s is not a unix socket", p.socket()), conn.Close())
	}
	return unixConn, nil
}

// checkOwner makes sure that nobody else made the directory: whoever owns it could be the one that answers, and would
// be handed the caller's terminal.
func (p Place) checkOwner() error {
	stat, err := os.Lstat(p.dir)
	if errors.Is(err, os.ErrNotExist) {
		return ErrNotRunning
	}
	if err != nil {
		return err
	}
	owner, ok := stat.Sys().(*syscall.Stat_t)
	if !ok || !stat.IsDir() || int(owner.Uid) != os.Geteuid() || stat.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a directory of yours alone (owner you, mode 0700): remove it, or set XDG_RUNTIME_DIR "+
			"to a directory that is", p.dir)
	}
	return nil
}
