// Command run builds the tests of the packages that it is given, runs them in a VM with a real kernel
// WireGuard, and exits as they did. Where no VM can be had it says so and exits with 0, unless CI is set.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/vm"
)

func main() {
	cache := flag.String("cache", "bin/vm", "`FOLDER` for kernels and test binaries")
	pattern := flag.String("run", "", "only tests that match, as in go test")
	bin := flag.String("bin", "bin", "`FOLDER` with the built programs; the guest has them at the same place beside the tests")
	timeout := flag.Duration("timeout", 15*time.Minute, "for the whole VM")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	code, err := run(ctx, *cache, *bin, *pattern, flag.Args())
	switch {
	case errors.Is(err, vm.ErrMissing) && os.Getenv("CI") == "":
		fmt.Println("SKIPPED: the tests on kernel WireGuard did not run:", err)
	case err != nil:
		fmt.Fprintln(os.Stderr, "vm:", err)
		code = 1
	}
	os.Exit(code)
}

func run(ctx context.Context, cache, bin, pattern string, packages []string) (int, error) {
	kernel, err := vm.Fetch(ctx, cache)
	if err != nil {
		return 0, err
	}
	m := vm.Machine{Kernel: kernel, Guest: filepath.Join(cache, "guest"), Files: map[string]string{}, Memory: 2048}
	if err := goBuild(ctx, "build", "-o", m.Guest, "./cmd/internal/vm/guest"); err != nil {
		return 0, err
	}
	for _, program := range []string{"warren", "warren-agent", "warren-controller", "warren-lab"} {
		m.Files["/test/bin/"+program] = filepath.Join(bin, program)
	}
	for _, pkg := range packages {
		name := path.Base(pkg) + ".test"
		compiled := filepath.Join(cache, name)
		if err := goBuild(ctx, "test", "-c", "-o", compiled, pkg); err != nil {
			return 0, err
		}
		m.Files["/test/"+path.Clean(pkg)+"/"+name] = compiled
		m.Programs = append(m.Programs, vm.Program{
			Argv: []string{"/test/" + path.Clean(pkg) + "/" + name, "-test.v", "-test.run", pattern, "-test.timeout", "12m"},
			Dir:  "/test/" + path.Clean(pkg),
		})
	}
	start := time.Now()
	code, err := m.Run(ctx, os.Stdout)
	fmt.Printf("VM with Linux %s: exit code %d after %.0f s\n", kernel.Version, code, time.Since(start).Seconds())
	return code, err
}

// goBuild builds static binaries: there is no libc in the VM.
func goBuild(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
