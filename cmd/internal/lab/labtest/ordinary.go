package labtest

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody is the user without rights, on this machine and on most.
const nobody = 65534

// OrdinaryUser returns what makes a command run as an ordinary user, where a test runs as root; elsewhere it skips the
// test. The command must be started by the calling goroutine: its thread gets mounts of its own, in which everybody
// may open /dev/net/tun, as on most systems.
func OrdinaryUser(t testing.TB) *syscall.SysProcAttr {
	t.Helper()
	if !realRoot(t) {
		t.Skip("the tests run as an ordinary user as it is")
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	err := errors.Join(
		unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	if err != nil {
		t.Fatal(err)
	}
	openTun(t)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// realRoot reports whether this process has root's rights, not only those of root in a user namespace.
func realRoot(t testing.TB) bool {
	t.Helper()
	users, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(users))
	return os.Geteuid() == 0 && len(fields) == 3 && fields[2] == "4294967295"
}

// openTun gives the calling thread a /dev/net/tun that everybody may open.
func openTun(t testing.TB) {
	t.Helper()
	const tun = "/dev/net/tun"
	dir := t.TempDir()
	node := filepath.Join(dir, "tun")
	err := errors.Join(
		unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID, "mode=0755"),
		unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))),
		os.Chmod(node, 0o666),
		unix.Mount(node, tun, "", unix.MS_BIND, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // or t.TempDir could not be removed
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// CopyBinary puts copies of the test binary, under the given names, into a directory where any user can run them.
func CopyBinary(t testing.TB, names ...string) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := copyFile(filepath.Join(dir, name), "/proc/self/exe"); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return errors.Join(err, source.Close())
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Chmod(0o755), target.Close(), source.Close())
}
