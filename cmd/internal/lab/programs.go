package lab

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// FindPrograms checks that dir holds the programs of a mesh and that hosts can run them there.
func FindPrograms(dir string) error {
	for _, name := range []string{"warren", "warren-agent", "warren-controller"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("there is no program %s in %s: `make build` makes all of them", name, dir)
		}
	}
	if place, _, own := ownPath(dir); own {
		return fmt.Errorf("hosts have a %s of their own and would not see the programs in %s: move the checkout", place.prefix, dir)
	}
	return nil
}

// An ownPlace is a directory of which every host has one of its own.
type ownPlace struct {
	prefix string
	dir    string // where the router has it, within the host's directory
}

// ownPath tells in which own place of a host a path lies, and what remains of the path there.
func ownPath(path string) (place ownPlace, rest string, own bool) {
	path = filepath.Clean(path)
	for _, place := range []ownPlace{{"/run", "run"}, {"/var/run", "run"}, {"/var/lib", "disk"}} {
		if rest, ok := strings.CutPrefix(path, place.prefix); ok && (rest == "" || rest[0] == '/') {
			return place, rest, true
		}
	}
	return ownPlace{}, path, false
}
