// Command guest is what a test VM has of the project's own. As process 1 it mounts what programs expect,
// loads the kernel modules, runs the programs of the plan, tells their exit code on the console and switches
// the machine off. Under systemd, `guest serve PORT [FIRST]` lets a test outside work in the machine; the addresses in the
// file FIRST, and in one called flood beside it, are what it sends to by itself (hand.Errands).
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/cmd/internal/vm"
	"github.com/warren-mesh/warren/cmd/internal/vm/hand"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "serve" {
		fmt.Fprintln(os.Stderr, "guest:", serve(os.Args[2], os.Args[3:]))
		os.Exit(1)
	}
	code := 1
	if err := setUp(); err != nil {
		fmt.Println("guest:", err)
	} else if code, err = runAll(); err != nil {
		fmt.Println("guest:", err)
	}
	fmt.Printf("\n%s%d\n", vm.ExitLine, code)
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func setUp() error {
	for _, m := range []struct{ fstype, at string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/run"}, {"tmpfs", "/tmp"},
	} {
		if err := unix.Mount(m.fstype, m.at, m.fstype, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %v", m.at, err)
		}
	}
	if err := os.Mkdir("/dev/shm", 0o1777); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := raiseLoopback(); err != nil {
		return err
	}
	return loadModules()
}

func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("bring lo up: %v", err)
	}
	return nil
}

// loadModules loads in the order of the file names. Accelerated variants for other processors answer
// ENODEV, which is no failure.
func loadModules() error {
	files, err := filepath.Glob(vm.ModulesDir + "/*.ko")
	if err != nil {
		return err
	}
	slices.Sort(files)
	for _, path := range files {
		if err := loadModule(path); err != nil {
			return err
		}
	}
	return nil
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %v", filepath.Base(path), err)
	}
	return nil
}

// runAll runs the programs until one fails, and gives its exit code.
func runAll() (int, error) {
	raw, err := os.ReadFile(vm.PlanPath)
	if err != nil {
		return 1, err
	}
	var programs []vm.Program
	if err := json.Unmarshal(raw, &programs); err != nil {
		return 1, err
	}
	for _, p := range programs {
		fmt.Println("=== VM", p.Argv)
		cmd := exec.Command(p.Argv[0], p.Argv[1:]...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = p.Dir, os.Stdout, os.Stdout
		cmd.Env = append([]string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/root", "WARREN_IN_VM=1"}, p.Env...)
		err := cmd.Run()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return max(1, exit.ExitCode()), nil
		}
		if err != nil {
			return 1, err
		}
	}
	return 0, nil
}

// serve waits for the port, which udev makes, and works for the test at its other end.
func serve(path string, notes []string) error {
	var e hand.Errands
	if len(notes) > 0 {
		first, err := addresses(notes[0])
		if err != nil {
			return err
		}
		if len(first) > 0 {
			e.First = first[0]
		}
		if e.Flood, err = addresses(filepath.Join(filepath.Dir(notes[0]), "flood")); err != nil {
			return err
		}
	}
	server := hand.NewServer(e)
	for {
		port, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			return server.Serve(port)
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		<-time.After(20 * time.Millisecond)
	}
}

// addresses are those in a file; none if it is not there.
func addresses(path string) (out []netip.AddrPort, err error) {
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for field := range strings.FieldsSeq(string(raw)) {
		at, err := netip.ParseAddrPort(field)
		if err != nil {
			return nil, fmt.Errorf("%s: %v", path, err)
		}
		out = append(out, at)
	}
	return out, nil
}
