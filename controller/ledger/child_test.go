package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// childRole names the variable that tells this test binary that it is a child process, and which.
const childRole = "WARREN_LEDGER_TEST_ROLE"

// TestChild is what child processes run; it does nothing otherwise.
func TestChild(t *testing.T) {
	switch role := os.Getenv(childRole); role {
	case "":
		t.Skip("only for child processes")
	case "write":
		childWrites(t, os.Getenv("WARREN_LEDGER_TEST_PATH"), os.NewFile(3, "answers"))
	case "full":
		childFillsDisk(t)
	case "forbidden":
		childMayNotWrite(t)
	default:
		t.Fatalf("unknown role %q", role)
	}
}

// child is this test binary in another role.
func child(t *testing.T, role string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), childRole+"="+role)
	return cmd
}

// ownMounts gives the child mounts of its own, and where the test is not root a user namespace to have
// the right to it.
func ownMounts(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
}

// runChild runs a child to its end; its failures are the test's.
func runChild(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		t.Errorf("child: %v\n%s", err, out)
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS):
		t.Skipf("no namespaces here: %v", err)
	case err != nil:
		t.Fatal(err)
	}
	t.Logf("%s", out)
}

// childWrites appends, puts and destroys until it is killed, and says each time that it was done.
func childWrites(t *testing.T, path string, answers io.Writer) {
	db, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := newMesh()
	if m.inv, err = db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.n = int(m.inv.Revision)
	for {
		e := m.next(t)
		if err := db.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		say(t, answers, "revision %d", e.Revision)
		if e.Revision%3 != 0 {
			continue
		}
		name := fmt.Sprintf("v%d", e.Revision)
		if err := db.Put(t.Context(), map[string][]byte{name: secretOf(name), "other": []byte(name)}); err != nil {
			t.Fatal(err)
		}
		say(t, answers, "put %s", name)
		if e.Revision%6 == 0 {
			if err := db.Destroy(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			say(t, answers, "destroyed %s", name)
		}
	}
}

func secretOf(name string) []byte { return fmt.Appendf(nil, "<the secret of %s>", name) }

func say(t *testing.T, w io.Writer, format string, args ...any) {
	if _, err := fmt.Fprintf(w, format+"\n", args...); err != nil {
		t.Fatal(err)
	}
}

// lines gives what a child says, line by line.
func lines(r io.Reader) *bufio.Scanner { return bufio.NewScanner(r) }
