package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestInstall goes through the life of the packages on a copy of this machine that is thrown away: an
// overlay over its root, without a network and with a systemd that only says what it is asked for.
// testdata/install.sh tells the story, and what it must print is beside it. Triggers of dpkg do not run: the
// index of manual pages takes longer than all the rest.
func TestInstall(t *testing.T) {
	built(t, "deb")
	need(t, "dpkg", "dpkg")
	golden(t, "install.txt", lived(t, "testdata/install.sh"))
}

// TestInstallRPM is the same for the packages of another kind, which leave the users behind, as is the custom there.
func TestInstallRPM(t *testing.T) {
	built(t, "rpm")
	need(t, "rpm", "rpm")
	golden(t, "install-rpm.txt", lived(t, "testdata/install-rpm.sh"))
}

// lived runs a story on the copy of this machine, and gives what it has told.
func lived(t *testing.T, script string) string {
	t.Helper()
	need(t, "ip", "iproute2")
	need(t, "systemd-sysusers", "systemd")
	if os.Geteuid() != 0 {
		t.Skip("installing packages needs root, also on a copy of this machine")
	}
	if out, err := exec.CommandContext(t.Context(), "unshare", "-mn", "true").CombinedOutput(); err != nil {
		t.Skipf("no namespaces may be made here: %v: %s", err, out)
	}
	dir, err := filepath.Abs(os.Getenv("WARREN_PACKAGES"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "-mn", "sh", script, dir, t.TempDir())
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() == 77 {
		t.Skipf("no overlay may be mounted here: %s", exit.Stderr)
	}
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return string(out)
}
