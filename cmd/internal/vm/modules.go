package vm

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// moduleOrder gives the files of the named modules and of all that they depend on, each after what it
// needs. Names that the kernel has built in are left out.
func moduleOrder(dir string, names []string) ([]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			files[canonical(name)] = path
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list kernel modules: %v", err)
	}
	var order []string
	var visit func(name string) error
	visit = func(name string) error {
		path, ok := files[canonical(name)]
		if !ok || slices.Contains(order, path) {
			return nil
		}
		needs, err := moduleNeeds(path)
		if err != nil {
			return err
		}
		for _, n := range needs {
			if err := visit(n); err != nil {
				return err
			}
		}
		order = append(order, path)
		return nil
	}
	for _, n := range names {
		if err := visit(n); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// canonical is the name under which the kernel knows a module: file names have - and _ alike.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }

// moduleNeeds reads the "depends" and "softdep" entries of a module's .modinfo section, as depmod(8) does.
func moduleNeeds(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read module: %v", err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("%s has no .modinfo", path)
	}
	raw, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("read %s: %v", path, err)
	}
	var needs []string
	for entry := range strings.SplitSeq(string(raw), "\x00") {
		if list, ok := strings.CutPrefix(entry, "depends="); ok && list != "" {
			needs = append(needs, strings.Split(list, ",")...)
		}
		if list, ok := strings.CutPrefix(entry, "softdep=pre: "); ok {
			needs = append(needs, strings.Fields(list)...)
		}
	}
	return needs, nil
}
