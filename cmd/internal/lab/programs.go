package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// programs are what a host of a mesh runs; they are built together.
func programs() []string { return []string{"warren", "warren-agent", "warren-controller"} }

// FindPrograms checks that dir holds the programs of a mesh.
func FindPrograms(dir string) error {
	for _, name := range programs() {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("there is no program %s in %s: `make build` makes all of them", name, dir)
		}
	}
	return nil
}

// Build builds the programs into dir with the go command, from the module that the working directory is in. The flags
// (-race …) go to `go build`.
func Build(ctx context.Context, dir string, flags ...string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	module, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("finding the module to build the programs from: %v", err)
	}
	// Without -buildvcs=false git refuses a checkout whose owner is not the lab's user, and go with it.
	args := append([]string{"build", "-buildvcs=false", "-o", dir + string(os.PathSeparator)}, flags...)
	for _, name := range programs() {
		args = append(args, "./cmd/"+name)
	}
	build := exec.CommandContext(ctx, "go", args...)
	build.Dir = strings.TrimSpace(string(module))
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %v\n%s", build, err, out)
	}
	return nil
}
