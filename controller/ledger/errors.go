package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
)

// Errors that a caller may look for.
var (
	// ErrLocked is wrapped by what Open returns while another process has the database open.
	ErrLocked = errors.New("in use by another controller")
	// ErrDamaged is wrapped by every error that says that the file is not what was written.
	ErrDamaged = errors.New("damaged")
	// ErrFormat is wrapped by what Open returns for a database of another version of Warren.
	ErrFormat = errors.New("written by another version of Warren")
	// ErrFull is wrapped by what a change returns for which there is no room on the disk.
	ErrFull = errors.New("no room left on the disk")
	// ErrClosed is wrapped by what every method returns after Close.
	ErrClosed = errors.New("closed")
)

func flawf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

// A hinted error knows what helps. The program says it in a line of its own.
type hinted struct {
	error
	hint string
}

// Hint says what helps.
func (h *hinted) Hint() string { return h.hint }

// Unwrap gives the error without the hint.
func (h *hinted) Unwrap() error { return h.error }

// explain says which file an error is about, and what helps.
func explain(path string, err error) error {
	if err == nil {
		return nil
	}
	told := fmt.Errorf("database %s: %w", path, err)
	switch {
	case errors.Is(err, ErrDamaged):
		return &hinted{told, "keep the damaged file, it may hold what a backup lacks, and put the last backup in its place"}
	case errors.Is(err, ErrLocked):
		return &hinted{told, "there can be one on a data directory: systemctl status warren-controller"}
	case full(err):
		// The cause stays in the chain: the controller tells a full disk by it, without knowing this package.
		return &hinted{
			fmt.Errorf("database %s: %w, the change was not made: %w", path, ErrFull, err),
			"make room, nothing else is needed: df -h " + filepath.Dir(path),
		}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return &hinted{
			told, "the data directory must be writable and belong to the controller's user: ls -ld " + filepath.Dir(path),
		}
	}
	return told
}

// full tells the ways in which a file system says that it takes no more.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// fromBolt gives an error of bbolt back its cause: where it fails to grow the file, only the text is left.
func fromBolt(err error) error {
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if err != nil && !errors.Is(err, cause) && strings.HasSuffix(err.Error(), ": "+cause.Error()) {
			return fmt.Errorf("%s%w", strings.TrimSuffix(err.Error(), cause.Error()), cause)
		}
	}
	return err
}

func formatError(got string) error {
	return fmt.Errorf("%w: its format is %.20q and this program knows %q (use the program that wrote it, or a newer one)",
		ErrFormat, got, format)
}
