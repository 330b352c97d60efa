package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// Names of the files. The private key of generation N is in fileKey + "N".
const (
	fileIdentity   = "identity"
	fileHeir       = "identity.next"
	fileFormer     = "identity.former" // for a moment
	fileMembership = "membership"
	fileEnrolment  = "enrolment"
	filePins       = "pins"
	filePlan       = "plan"
	filePrevious   = "plan.previous"
	fileClock      = "clock"
	fileKey        = "key-"
	fileLeaving    = "leaving"
	fileGuard      = "guard"
	fileRetreat    = "retreat"
)

// ErrLocked is returned by Open when another agent runs on the data directory.
var ErrLocked = errors.New("another agent runs on this data directory")

// A Store is the data directory of one agent. It may be used by several goroutines at once.
type Store struct {
	mu      sync.Mutex
	dir     *os.File           // holds the lock
	kept    []peers.Generation // of the plan on disk, as far as it is known
	planBad bool               // the current plan on disk is damaged, so the previous one must not be replaced by it
}

// Open makes the directory where there is none, locks it until Close, and removes what an interrupted
// write left. A directory that cannot be written to is refused unless it has a membership: then the
// tunnels matter more, and each write fails by itself.
func Open(path string) (*Store, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the data directory: %w", err)
	}
	s := &Store{dir: dir}
	if err := s.prepare(); err != nil {
		_ = dir.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) prepare() error {
	st, err := s.dir.Stat()
	if err != nil {
		return fmt.Errorf("look at the data directory: %w", err)
	}
	if !st.IsDir() {
		return fmt.Errorf("data directory %s is no directory", s.dir.Name())
	}
	if err := s.lock(); err != nil {
		return err
	}
	if err := s.tighten(st); err != nil {
		if s.has(fileMembership) {
			return nil
		}
		return err
	}
	return s.removeTemporary()
}

func (s *Store) lock() error {
	err := unix.Flock(int(s.dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return fmt.Errorf("%s: %w", s.dir.Name(), ErrLocked)
	case err != nil:
		return fmt.Errorf("lock %s: %w", s.dir.Name(), err)
	}
	return nil
}

// tighten makes sure that nobody else can read the directory and that this process can write to it.
func (s *Store) tighten(st fs.FileInfo) error {
	if st.Mode().Perm()&0o077 != 0 {
		if err := s.dir.Chmod(0o700); err != nil {
			return fmt.Errorf("data directory %s is open to others: %w", s.dir.Name(), err)
		}
	}
	if err := unix.Access(s.dir.Name(), unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("data directory %s cannot be written to: %w", s.dir.Name(), err)
	}
	return nil
}

func (s *Store) removeTemporary() error {
	entries, err := os.ReadDir(s.dir.Name())
	if err != nil {
		return fmt.Errorf("list the data directory: %w", err)
	}
	for _, e := range entries {
		if (strings.HasSuffix(e.Name(), tempEnd) || e.Name() == fileFormer) && e.Type().IsRegular() {
			err = errors.Join(err, s.wipe(e.Name()))
		}
	}
	return err
}

func (s *Store) has(name string) bool {
	_, err := os.Lstat(s.path(name))
	return err == nil
}

// Path is the data directory.
func (s *Store) Path() string { return s.dir.Name() }

// Close gives the directory free.
func (s *Store) Close() error {
	if err := s.dir.Close(); err != nil {
		return fmt.Errorf("close the data directory: %w", err)
	}
	return nil
}

// IsFull reports whether an error says that there is no room left, on the disk or in a quota.
func IsFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
