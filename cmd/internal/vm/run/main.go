// Command run builds the tests of the packages that it is given, runs them in a VM with a real kernel
// WireGuard, and exits as they did. Of a main package it runs the program itself instead. What follows --
// goes to each of them:
//
//	go run ./cmd/internal/vm/run -run TestKernel ./agent/linux
//	go run ./cmd/internal/vm/run -run '^$' -bench . ./agent/linux -- -test.benchtime 100x
//	go run ./cmd/internal/vm/run -file /usr/bin/busybox=/bin/busybox ./cmd/internal/bench -- --links 3
//
// Where no VM can be had, and in CI, it says so and exits with 0.
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
	"slices"
	"strings"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/vm"
)

// options are the flags and the words after them.
type options struct {
	cache, bin   string
	test, bench  string
	files        map[string]string
	memory, cpus int
	timeout      time.Duration
	steady       bool
	packages     []string
	args         []string
}

func main() {
	o := options{files: map[string]string{}}
	flag.StringVar(&o.cache, "cache", "bin/vm", "`FOLDER` for kernels and test binaries")
	flag.StringVar(&o.test, "run", "", "only tests that match, as in go test")
	flag.StringVar(&o.bench, "bench", "", "benchmarks that match, as in go test")
	flag.StringVar(&o.bin, "bin", "bin", "`FOLDER` with the built programs; the guest has them at the same place beside the tests")
	flag.Func("file", "`HERE=GUEST`: a file to put into the guest; may be repeated", func(pair string) error {
		here, guest, ok := strings.Cut(pair, "=")
		if !ok {
			return errors.New("want HERE=GUEST")
		}
		o.files[guest] = here
		return nil
	})
	flag.IntVar(&o.memory, "memory", 2048, "`MIB` of memory")
	flag.IntVar(&o.cpus, "cpus", 2, "number of processors")
	flag.DurationVar(&o.timeout, "timeout", 45*time.Minute, "for the whole VM")
	flag.BoolVar(&o.steady, "steady", false,
		"one processor, and a clock that counts instructions, so that measurements repeat on a busy machine")
	flag.Parse()
	o.packages = flag.Args()
	if i := slices.Index(o.packages, "--"); i >= 0 {
		o.packages, o.args = o.packages[:i], o.packages[i+1:]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	code, err := o.run(ctx)
	switch {
	case errors.Is(err, vm.ErrMissing):
		fmt.Println("SKIPPED: the tests on kernel WireGuard did not run:", err)
		code = 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "vm:", err)
		code = 1
	}
	os.Exit(code)
}

func (o *options) run(ctx context.Context) (int, error) {
	if err := vm.Wanted(); err != nil {
		return 0, err
	}
	kernel, err := vm.Fetch(ctx, o.cache)
	if err != nil {
		return 0, err
	}
	m := vm.Machine{
		Kernel: kernel, Guest: filepath.Join(o.cache, "guest"), Files: o.files, Memory: o.memory, CPUs: o.cpus, Steady: o.steady,
	}
	if err := vm.GoBuild(ctx, "build", "-o", m.Guest, "./cmd/internal/vm/guest"); err != nil {
		return 0, err
	}
	for _, program := range []string{"warren", "warren-agent", "warren-controller", "warren-lab"} {
		m.Files["/test/bin/"+program] = filepath.Join(o.bin, program)
	}
	if err := addTools(m.Files); err != nil {
		return 0, err
	}
	for _, pkg := range o.packages {
		if err := o.add(ctx, &m, pkg); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	code, err := m.Run(ctx, os.Stdout)
	fmt.Printf("VM with Linux %s: exit code %d after %.0f s\n", kernel.Version, code, time.Since(start).Seconds())
	return code, err
}

// addTools gives the guest the programs with which tests look at what the kernel has. Without one, they skip.
func addTools(files map[string]string) error {
	for _, name := range []string{"nft", "ip", "wg", "env", "grep", "sysctl", "cp"} {
		path, err := exec.LookPath(name)
		if err == nil {
			path, err = filepath.EvalSymlinks(path)
		}
		if err != nil {
			fmt.Printf("the guest has no %s: %v\n", name, err)
			continue
		}
		if err := vm.WithLibraries(files, path); err != nil {
			return err
		}
		files["/usr/sbin/"+name] = path
	}
	return nil
}

// add builds a package and puts it on the list of what the guest runs, in the folder that it has here.
func (o *options) add(ctx context.Context, m *vm.Machine, pkg string) error {
	name, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Name}}", pkg).Output()
	if err != nil {
		return fmt.Errorf("go list %s: %v", pkg, err)
	}
	dir := "/test/" + path.Clean(pkg)
	binary, build, args := path.Base(pkg)+".test", []string{"test", "-c"}, o.testArgs()
	if strings.TrimSpace(string(name)) == "main" {
		binary, build, args = path.Base(pkg), []string{"build", "-trimpath"}, nil
	}
	compiled := filepath.Join(o.cache, binary)
	if err := vm.GoBuild(ctx, append(build, "-o", compiled, pkg)...); err != nil {
		return err
	}
	m.Files[dir+"/"+binary] = compiled
	m.Programs = append(m.Programs, vm.Program{
		Argv: slices.Concat([]string{dir + "/" + binary}, args, o.args), Dir: dir,
	})
	return nil
}

func (o *options) testArgs() []string {
	// Before the VM's own, so that it says which test hangs.
	args := []string{"-test.v", "-test.timeout", (o.timeout - time.Minute).String()}
	if o.test != "" {
		args = append(args, "-test.run", o.test)
	}
	if o.bench != "" {
		args = append(args, "-test.bench", o.bench, "-test.benchmem")
	}
	return args
}
