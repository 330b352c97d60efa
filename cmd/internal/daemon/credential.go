package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxCredential is the most that systemd passes in all of them, in bytes.
const maxCredential = 1 << 20

// Credential is a secret that the unit gives to the service (LoadCredential=), without the white space
// around it; empty where the unit gives none of that name.
func Credential(name string) (string, error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return "", nil
	}
	path := filepath.Join(dir, name)
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err == nil && st.Size() > maxCredential {
		return "", fmt.Errorf("credential %s: %d bytes are more than it may have", name, st.Size())
	}
	if err != nil {
		return "", fmt.Errorf("credential %s: %v", name, err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("credential %s: %v", name, err)
	}
	return strings.TrimSpace(string(raw)), nil
}
