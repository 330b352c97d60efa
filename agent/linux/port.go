package linux

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A PortError says that somebody else has the UDP port of an interface.
type PortError struct {
	Port   uint16 // 0 where the kernel did not say which
	Holder string // as far as this process may know
}

// Error names the port and who has it.
func (e *PortError) Error() string {
	port := "its UDP port"
	if e.Port != 0 {
		port = fmt.Sprintf("UDP port %d", e.Port)
	}
	return port + " is taken by " + e.Holder
}

// Taken is the port. By it callers tell this error.
func (e *PortError) Taken() uint16 { return e.Port }

// taken is the error of a port that a link could not have.
func (k *Kernel) taken(port uint16) *PortError {
	return &PortError{Port: port, Holder: k.holder(port)}
}

// onPort makes an error that means a taken port say who has it.
func (k *Kernel) onPort(err error, port uint16) error {
	if !errors.Is(err, unix.EADDRINUSE) && (err == nil || !strings.HasSuffix(err.Error(), errnoInUse)) {
		return err
	}
	return k.taken(port)
}

// portOf is the port that a link wants.
func (k *Kernel) portOf(name, backend string) uint16 {
	if d, err := k.device(name, backend); err == nil {
		return uint16(d.ListenPort)
	}
	return 0
}

// holder finds out who has a UDP port: another WireGuard interface, or a process, or at least its user. A process
// without many rights sees only its own user's.
func (k *Kernel) holder(port uint16) string {
	devices, err := k.wg.Devices()
	if err == nil {
		for _, d := range devices {
			if d.ListenPort == int(port) && !slices.Contains(linkNames(), d.Name) {
				return "the WireGuard interface " + d.Name
			}
		}
	}
	inode, uid, found := socketOn(port)
	if !found {
		return "another program"
	}
	if pid, name, ok := processWith(inode); ok {
		return fmt.Sprintf("%s (process %d)", name, pid)
	}
	if who, err := user.LookupId(uid); err == nil {
		return "a process of the user " + who.Username
	}
	return "a process of the user " + uid
}

// socketOn finds the UDP socket of a process on a port, in either family.
func socketOn(port uint16) (inode, uid string, found bool) {
	for _, path := range []string{"/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"} {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() && !found {
			fields := strings.Fields(lines.Text()) // sl local rem st queues tr retrnsmt uid timeout inode
			if len(fields) < 10 || !strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				continue
			}
			uid, inode = fields[7], fields[9]
			found = inode != "0" // that of a tunnel in the kernel
		}
		f.Close()
		if found {
			return inode, uid, true
		}
	}
	return "", "", false
}

// processWith finds the process that has a socket open.
func processWith(inode string) (pid int, name string, ok bool) {
	open, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0, "", false
	}
	want := "socket:[" + inode + "]"
	for _, path := range open {
		if to, err := os.Readlink(path); err != nil || to != want {
			continue
		}
		dir := filepath.Dir(filepath.Dir(path))
		text, err := os.ReadFile(filepath.Join(dir, "comm"))
		pid, errPID := strconv.Atoi(filepath.Base(dir))
		if err == nil && errPID == nil {
			return pid, strings.TrimSpace(string(text)), true
		}
	}
	return 0, "", false
}

// portFree fails where another program has the port. The kernel says so itself; a tunnel process learns
// it when its interface comes up, when there is nobody to tell.
func (k *Kernel) portFree(name string, port uint16) error {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)})
	if err == nil {
		return c.Close()
	}
	if !errors.Is(err, unix.EADDRINUSE) {
		return nil // not what was asked
	}
	have, err := k.device(name, Userspace)
	if err == nil && have.ListenPort == int(port) {
		return nil
	}
	return k.taken(port)
}
