package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	filePerm = 0o600
	maxFile  = 64 << 20
	tempEnd  = ".tmp"
)

// read gives the content of a record; the error satisfies errors.Is(err, fs.ErrNotExist) or is Damaged.
func (s *Store) read(name, kind string) ([]byte, error) {
	f, err := os.OpenFile(s.path(name), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path(name), err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, &Damaged{File: s.path(name), Why: err.Error()}
	}
	if len(raw) > maxFile {
		return nil, &Damaged{File: s.path(name), Why: "it is far too long"}
	}
	return decodeRecord(s.path(name), kind, raw)
}

// write replaces a file or leaves it as it was. With keep, the old content stays under that name.
func (s *Store) write(name, kind string, content []byte, keep string) error {
	temp := name + tempEnd
	err := s.writeTemp(temp, encodeRecord(kind, content))
	if err == nil && keep != "" {
		err = s.keep(name, keep)
	}
	if err == nil {
		err = os.Rename(s.path(temp), s.path(name))
	}
	if err != nil {
		_ = s.wipe(temp) // or the next Open does
		return fmt.Errorf("write %s: %w", s.path(name), err)
	}
	return s.sync()
}

func (s *Store) writeTemp(temp string, raw []byte) error {
	f, err := os.OpenFile(s.path(temp), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, filePerm)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	return errors.Join(err, f.Sync(), f.Close())
}

// keep gives the file a second name, which replaces what had that name. There is no moment at which
// one of the names leads nowhere.
func (s *Store) keep(name, as string) error {
	link := as + tempEnd
	if err := os.Remove(s.path(link)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(s.path(name), s.path(link)); err != nil {
		return err
	}
	// Where both names lead to the same file already, rename does nothing and leaves the link.
	err := os.Rename(s.path(link), s.path(as))
	if gone := os.Remove(s.path(link)); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

// wipe overwrites a file as well as a file system allows, and removes it. A file that has another name
// as well is not overwritten: it is still needed there.
func (s *Store) wipe(name string) error {
	f, err := os.OpenFile(s.path(name), os.O_WRONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wipe %s: %w", s.path(name), err)
	}
	if err := errors.Join(overwrite(f), f.Close(), os.Remove(s.path(name))); err != nil {
		return fmt.Errorf("wipe %s: %w", s.path(name), err)
	}
	return s.sync()
}

func overwrite(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && sys.Nlink > 1 {
		return nil
	}
	_, err = f.Write(make([]byte, st.Size()))
	return errors.Join(err, f.Sync())
}

// sync makes the names in the folder as durable as what they lead to.
func (s *Store) sync() error {
	if err := s.dir.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", s.dir.Name(), err)
	}
	return nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir.Name(), name) }
