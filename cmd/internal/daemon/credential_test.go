package daemon_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/warren-mesh/warren/cmd/internal/daemon"
)

func TestCredential(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if got, err := daemon.Credential("warren.token"); got != "" || err != nil {
		t.Errorf("without systemd: %q, %v", got, err)
	}
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if got, err := daemon.Credential("warren.token"); got != "" || err != nil {
		t.Errorf("without this one: %q, %v", got, err)
	}
	path := filepath.Join(dir, "warren.token")
	if err := os.WriteFile(path, []byte("warren1.abc\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	if got, err := daemon.Credential("warren.token"); got != "warren1.abc" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 2<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.Credential("warren.token"); err == nil {
		t.Error("a file of 2 MB was taken for a credential")
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.Credential("folder"); err == nil {
		t.Error("a folder was taken for a credential")
	}
}
