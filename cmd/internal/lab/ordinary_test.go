package lab_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// ordinaryUser is nobody, on this machine and on most.
const ordinaryUser = 65534

// TestAsOrdinaryUser runs all other tests of this package once more, without root's rights.
func TestAsOrdinaryUser(t *testing.T) {
	if !realRoot(t) {
		t.Skip("the tests run as an ordinary user as it is")
	}
	// Mounts that this thread makes are no other's, and the thread ends with the test.
	runtime.LockOSThread()
	dir := "/run/ordinary"
	if err := errors.Join(unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS), os.Mkdir(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Remove(dir) }()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID, "mode=0755"); err != nil {
		t.Fatal(err)
	}
	openTun(t, filepath.Join(dir, "tun"))
	binary := filepath.Join(dir, "tests")
	copyBinary(t, binary)

	cmd := exec.CommandContext(t.Context(), binary, "-test.v", "-test.skip=^TestAsOrdinaryUser$", "-test.timeout=5m")
	cmd.Dir = "/"
	cmd.Env = append(outsideEnvironment(), "HOME=/tmp", "TMPDIR=/tmp")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinaryUser, Gid: ordinaryUser}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestHostsReachEachOther") {
		t.Errorf("as user %d: %v\n%s", ordinaryUser, err, out)
	}
}

// realRoot reports whether this process has root's rights, not only those of root in a user namespace.
func realRoot(t *testing.T) bool {
	t.Helper()
	users, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(users))
	return os.Geteuid() == 0 && len(fields) == 3 && fields[2] == "4294967295"
}

// openTun gives the calling thread a /dev/net/tun that everybody may open, as most systems have it.
func openTun(t *testing.T, node string) {
	t.Helper()
	const tun = "/dev/net/tun"
	stat, err := os.Stat(tun)
	if err != nil {
		t.Fatal(err)
	}
	if stat.Mode()&0o006 == 0o006 {
		return
	}
	err = errors.Join(
		unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))),
		os.Chmod(node, 0o666),
		unix.Mount(node, tun, "", unix.MS_BIND, ""))
	if err != nil {
		t.Fatal(err)
	}
}

// copyBinary puts the test binary where any user can run it.
func copyBinary(t *testing.T, path string) {
	t.Helper()
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close(), from.Close()); err != nil {
		t.Fatal(err)
	}
}
