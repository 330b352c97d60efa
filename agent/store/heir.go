package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/warren-mesh/warren/peers/key"
)

// Heir reads the identity that shall follow on the present one, or makes and keeps it. A damaged one, which
// nobody has been told of for certain, is Damaged and stays.
func (s *Store) Heir() (key.IdentityKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := readKey(s, fileHeir, "identity", key.ParseIdentityKey)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if id, err = key.NewIdentityKey(rand.Reader); err != nil {
		return key.IdentityKey{}, err
	}
	if err := s.write(fileHeir, "identity", []byte(id.Expose()), ""); err != nil {
		return key.IdentityKey{}, err
	}
	return id, nil
}

// HasHeir reports whether there is an identity to follow on the present one.
func (s *Store) HasHeir() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.has(fileHeir)
}

// Succeed puts the heir in the place of the identity, which is wiped. Keep a membership that names the heir
// before it: then a crash in between is noticed and made good.
func (s *Store) Succeed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.keep(fileIdentity, fileFormer); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep the former identity for a moment: %w", err)
	}
	if err := os.Rename(s.path(fileHeir), s.path(fileIdentity)); err != nil {
		return fmt.Errorf("take the new identity: %w", err)
	}
	return errors.Join(s.sync(), s.wipe(fileFormer))
}
