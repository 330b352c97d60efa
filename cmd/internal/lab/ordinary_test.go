package lab_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/cmd/internal/lab/labtest"
)

// TestAsOrdinaryUser runs all other tests of this package once more, without root's rights.
func TestAsOrdinaryUser(t *testing.T) {
	user := labtest.OrdinaryUser(t)
	binary := filepath.Join(labtest.CopyBinary(t, "tests"), "tests")
	cmd := exec.CommandContext(t.Context(), binary, "-test.v", "-test.skip=^TestAsOrdinaryUser$", "-test.timeout=5m")
	cmd.Dir = "/"
	cmd.Env = append(outsideEnvironment(), "HOME=/tmp", "TMPDIR=/tmp")
	cmd.SysProcAttr = user
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestHostsReachEachOther") {
		t.Errorf("%v\n%s", err, out)
	}
}
