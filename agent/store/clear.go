package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// PutLeaving notes that this host leaves its mesh, so that an agent which starts again finishes that instead of
// bringing up what is on its way out. The note is the last file that Clear removes.
func (s *Store) PutLeaving() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(fileLeaving, "leaving", nil, "")
}

// Leaving reports whether this host was about to leave.
func (s *Store) Leaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.has(fileLeaving)
}

// Clear removes all that an agent has written, secrets overwritten as well as a file system allows, and gives the
// names of what is left because it is not ours. Damage, or something else in the place of a file, is no obstacle.
func (s *Store) Clear() (left []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := os.ReadDir(s.dir.Name())
	if err != nil {
		return nil, fmt.Errorf("list the data directory: %w", err)
	}
	var failed []error
	for _, e := range entries {
		switch {
		case !isOurs(e.Name()):
			left = append(left, e.Name())
		case e.Name() != fileLeaving:
			failed = append(failed, s.remove(e.Name()))
		}
	}
	s.planBad = false
	if err := errors.Join(failed...); err != nil {
		return left, err
	}
	return left, errors.Join(s.remove(fileLeaving), s.sync())
}

// isOurs tells the names of files that an agent or its tunnel processes write.
func isOurs(name string) bool {
	base := strings.TrimSuffix(name, tempEnd)
	if slices.Contains([]string{
		fileIdentity, fileHeir, fileFormer, fileMembership, fileEnrolment, filePins, filePlan, filePrevious, fileLeaving, fileClock,
		fileGuard, fileRetreat,
	}, base) {
		return true
	}
	tunnelLog, _ := filepath.Match("tunnel-*.log", name)
	return strings.HasPrefix(base, fileKey) || tunnelLog
}

// remove removes whatever has a name in the data directory.
func (s *Store) remove(name string) error {
	wiped := s.wipe(name)
	if wiped == nil {
		return nil
	}
	if err := os.RemoveAll(s.path(name)); err != nil {
		return errors.Join(wiped, err)
	}
	return nil
}

// Remove removes the directory itself, if it is empty.
func (s *Store) Remove() error {
	err := os.Remove(s.dir.Name())
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return nil
	}
	return fmt.Errorf("remove the data directory: %w", err)
}

// OpenIfThere is Open for a directory that is there already, or else an error that satisfies
// errors.Is(err, fs.ErrNotExist). It takes the lock and changes nothing.
func OpenIfThere(path string) (*Store, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the data directory: %w", err)
	}
	s := &Store{dir: dir}
	if err := s.lock(); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return s, nil
}
