// Package socket listens on unix sockets and tells who is at the other end.
//
// Everybody may connect: what a caller may do is decided by the credentials that the kernel vouches
// for, so that two groups can have different rights on one socket.
package socket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Groups with rights on the daemons' sockets.
const (
	GroupRead  = "warren"
	GroupAdmin = "warren-admin"
)

// answerTime is how long a process may take to answer on a socket that is its own.
const answerTime = time.Second

// ErrInUse is returned for a socket on which somebody answers.
var ErrInUse = errors.New("another process answers on the socket")

// Listen makes the socket and its folder. A socket that a dead process left is replaced; one on which
// somebody answers is ErrInUse.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the socket: %w", err)
	}
	if conn, err := net.DialTimeout("unix", path, answerTime); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	}
	if err := removeSocket(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on socket: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("open the socket to its groups: %w", err)
	}
	return l, nil
}

// removeSocket removes a socket file, and nothing that is something else.
func removeSocket(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the socket: %w", err)
	}
	if st.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is in the way: it is no socket", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the socket that a dead process left: %w", err)
	}
	return nil
}

// A Caller is the process at the other end of a unix socket, as the kernel knows it.
type Caller struct {
	UID, GID uint32
	Groups   []uint32 // supplementary
}

// CallerOf asks the kernel who is at the other end.
func CallerOf(conn net.Conn) (Caller, error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return Caller{}, fmt.Errorf("%T has no credentials", conn)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return Caller{}, fmt.Errorf("credentials of the caller: %v", err)
	}
	var c Caller
	var inner error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); inner != nil {
			return
		}
		c.UID, c.GID = cred.Uid, cred.Gid
		c.Groups, inner = peerGroups(int(fd))
	})
	if err := errors.Join(err, inner); err != nil {
		return Caller{}, fmt.Errorf("credentials of the caller: %v", err)
	}
	return c, nil
}

// Rights are what a caller may do, and how the ledger calls them.
type Rights struct {
	Name        string // "unix:anna"
	Read, Write bool
}

// Rights of a caller: root, the user that the daemon runs as and the group warren-admin may change, the
// group warren may read.
func (c Caller) Rights() Rights {
	r := Rights{Name: "unix:" + userName(c.UID)}
	r.Write = c.UID == 0 || int(c.UID) == os.Geteuid() || c.member(GroupAdmin)
	r.Read = r.Write || c.member(GroupRead)
	return r
}

func (c Caller) member(group string) bool {
	g, err := user.LookupGroup(group)
	if err != nil {
		return false
	}
	gid, err := strconv.ParseUint(g.Gid, 10, 32)
	return err == nil && (c.GID == uint32(gid) || slices.Contains(c.Groups, uint32(gid)))
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}
