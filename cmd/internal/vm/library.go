package vm

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// libraryDirs are where Debian's dynamic linker looks.
func libraryDirs() []string {
	return []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"}
}

// WithLibraries adds a program of this machine to the files of a guest, at the same path, with the shared libraries and
// the dynamic linker that it needs.
func WithLibraries(files map[string]string, program string) error {
	if _, there := files[program]; there {
		return nil
	}
	f, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("read %s: %v", program, err)
	}
	defer f.Close()
	files[program] = program
	if linker, err := interpreter(f); err != nil || linker != "" {
		if err := errors.Join(err, WithLibraries(files, linker)); err != nil {
			return err
		}
	}
	needs, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("read %s: %v", program, err)
	}
	for _, name := range needs {
		path, err := library(name)
		if err != nil {
			return fmt.Errorf("%s needs %s: %v", program, name, err)
		}
		if err := WithLibraries(files, path); err != nil {
			return err
		}
	}
	return nil
}

func library(name string) (string, error) {
	for _, dir := range libraryDirs() {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", os.ErrNotExist
}

// interpreter is the path of the dynamic linker; none for a library or a static program.
func interpreter(f *elf.File) (string, error) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			raw, err := io.ReadAll(p.Open())
			return strings.TrimRight(string(raw), "\x00"), err
		}
	}
	return "", nil
}
