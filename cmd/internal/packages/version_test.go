package packages

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestVersionsGrow: each commit and each tag is an upgrade for dpkg and for rpm.
func TestVersionsGrow(t *testing.T) {
	script, err := filepath.Abs(filepath.Join(top, ".ci", "version"))
	if err != nil {
		t.Fatal(err)
	}
	repo := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = repo
		cmd.Env = append(cmd.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@a.example", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@a.example")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := run("sh", script); got != "" {
		t.Errorf("without git the version is %q", got)
	}
	run("git", "init", "-q")
	var versions []string
	for _, tag := range []string{"", "", "v0.1.0-rc1", "v0.1.0", "", "", "v0.1.1", "", "v0.10.0", "v1.0.0"} {
		run("git", "commit", "-q", "--allow-empty", "-m", "x")
		if tag != "" {
			run("git", "tag", tag)
		}
		versions = append(versions, run("sh", script))
	}
	for i, want := range map[int]string{2: "0.1.0~rc1", 3: "0.1.0", 9: "1.0.0"} {
		if versions[i] != want {
			t.Errorf("at the tag the version is %s, want %s", versions[i], want)
		}
	}
	for i := range versions[1:] {
		a, b := versions[i], versions[i+1]
		if _, err := exec.LookPath("dpkg"); err == nil {
			run("dpkg", "--compare-versions", a, "lt", b)
		}
		if _, err := exec.LookPath("rpm"); err == nil {
			if got := run("rpm", "--eval", `%{lua:print(rpm.vercmp("`+a+`","`+b+`"))}`); got != "-1" {
				t.Errorf("rpm does not see that %s is older than %s: %s", a, b, got)
			}
		}
	}
}
