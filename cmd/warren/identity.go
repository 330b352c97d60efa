package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/key"
)

// identityPath is where this user's admin identity is.
func (a *app) identityPath() (string, error) {
	if dir := a.proc.Env("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "warren", "identity"), nil
	}
	home := a.proc.Env("HOME")
	if home == "" {
		return "", cli.Fail("no-home", "set XDG_CONFIG_HOME or HOME", "there is no place for your admin identity")
	}
	return filepath.Join(home, ".config", "warren", "identity"), nil
}

// readIdentity reads the admin identity; one that others can read is refused, as ssh does it.
func (a *app) readIdentity() (key.IdentityKey, error) {
	path, err := a.identityPath()
	if err != nil {
		return key.IdentityKey{}, err
	}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return key.IdentityKey{}, cli.Fail("identity-missing", "make one: warren admin key",
			"you have no admin identity yet: there is no %s", path)
	}
	if err != nil {
		return key.IdentityKey{}, cli.Fail("identity-unreadable", "", "admin identity: %v", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return key.IdentityKey{}, cli.Fail("identity-exposed", "chmod 600 "+path,
			"others can read your admin identity %s (mode %04o)", path, st.Mode().Perm())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return key.IdentityKey{}, cli.Fail("identity-unreadable", "", "admin identity: %v", err)
	}
	k, err := key.ParseIdentityKey(strings.TrimSpace(string(raw)))
	if err != nil {
		return key.IdentityKey{}, cli.Fail("identity-damaged", "move it away and make a new one: warren admin key",
			"%s holds no admin identity: %v", path, err)
	}
	return k, nil
}

// ownIdentity reads the admin identity, or makes one.
func (a *app) ownIdentity() (key.IdentityKey, error) {
	k, err := a.readIdentity()
	var missing *cli.Error
	if !errors.As(err, &missing) || missing.Code != "identity-missing" {
		return k, err
	}
	if k, err = key.NewIdentityKey(rand.Reader); err != nil {
		return k, fmt.Errorf("make an identity: %v", err)
	}
	path, err := a.identityPath()
	if err != nil {
		return k, err
	}
	if err := writeNew(path, k.Expose()+"\n"); err != nil {
		return k, cli.Fail("identity-unwritable", "", "keep the new admin identity: %v", err)
	}
	return k, nil
}

// writeNew writes a file that only its owner can read. Two who do it at once never see half a file, and
// the second one fails: nobody is left with an identity that is gone.
func writeNew(path, text string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".identity-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Link(f.Name(), path)
	}
	return errors.Join(err, os.Remove(f.Name()))
}
