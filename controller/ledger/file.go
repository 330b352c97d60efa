package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// lockEvery is how long to wait between two tries for a lock.
const lockEvery = 25 * time.Millisecond

// lock takes the lock of an open file or folder, waiting for it no longer than ctx lets it.
func lock(ctx context.Context, f *os.File) error {
	tick := time.NewTicker(lockEvery)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return ErrLocked
		case <-tick.C:
		}
	}
}

func unlock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }

// openLocked opens the file that is at path once it is ours alone.
func openLocked(ctx context.Context, path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		same, err := settle(ctx, f, path)
		if err == nil && same {
			return f, nil
		}
		_ = f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// settle locks the file and reports whether it is still the one at path: a restore may have put
// another there meanwhile.
func settle(ctx context.Context, f *os.File, path string) (same bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, flawf("it is no regular file")
	}
	if err := lock(ctx, f); err != nil {
		return false, err
	}
	there, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	// The file holds secrets; a restore with cp may have forgotten that.
	if info.Mode().Perm()&0o077 != 0 {
		if err := f.Chmod(0o600); err != nil {
			return false, err
		}
	}
	return os.SameFile(info, there), nil
}

// create makes an empty database at path unless somebody else just has. It is written in full under
// another name first: whatever goes wrong, there is never half a database at path.
func create(ctx context.Context, path string, pageSize int) error {
	dir, err := os.Open(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no folder %s: make it, or choose another data directory", filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := lock(ctx, dir); err != nil {
		return err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	draft := path + ".new"
	if err := os.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // what a killed process left
	}
	if err := writeEmpty(draft, pageSize); err != nil {
		_ = os.Remove(draft)
		return err
	}
	if err := os.Rename(draft, path); err != nil {
		return err
	}
	return dir.Sync()
}

// writeEmpty makes a database with no entries.
func writeEmpty(path string, pageSize int) error {
	f, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: pageSize})
	if err != nil {
		return err
	}
	err = f.Update(func(tx *bbolt.Tx) error {
		for _, name := range allBuckets() {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		s, err := openStore(tx)
		if err != nil {
			return err
		}
		if err := s.putMeta(keyFormat, []byte(format)); err != nil {
			return err
		}
		return errors.Join(s.putHead(head{}), s.putVaultTally(tally{}))
	})
	return errors.Join(err, f.Close())
}
