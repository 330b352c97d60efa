package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// ErrMissing is wrapped where there is no VM to be had: the machine lacks what only its owner can install,
// or it is CI. Tests skip then, and say so.
var ErrMissing = errors.New("no VM here")

const qemuProgram = "qemu-system-x86_64"

// Wanted is nil unless there is no qemu, or this is CI, where machines are small and shared, and a VM under emulation
// says more about them than about the change.
func Wanted() error {
	if os.Getenv("CI") != "" {
		return fmt.Errorf("%w: CI is set", ErrMissing)
	}
	if _, err := exec.LookPath(qemuProgram); err != nil {
		return fmt.Errorf("%w: there is no %s (apt-get install qemu-system-x86)", ErrMissing, qemuProgram)
	}
	return nil
}

// A processor is how a guest's instructions are executed.
type processor struct {
	accelerator string
	cpus        int
	clock       []string // arguments that say what its time goes by; none for that of this machine
}

// steady has the guest's time go by what it executes, a nanosecond for each instruction, and not stand still where it
// waits: how long something takes does not depend on what else this machine does, and repeats. It has one processor, as
// with two Linux waits for ever for the second.
func steady() processor {
	return processor{accelerator: "tcg,thread=single", cpus: 1, clock: []string{"-icount", "shift=0,sleep=off"}}
}

// qemu prepares what all machines have in common: no network, no disk, no screen, nothing by default. Memory is in MiB.
func qemu(ctx context.Context, k Kernel, p processor, memory int, words string) *exec.Cmd {
	return exec.CommandContext(ctx, qemuProgram, append(p.clock, "-M", "q35", "-accel", p.accelerator, "-cpu", "max",
		"-smp", strconv.Itoa(p.cpus), "-m", strconv.Itoa(memory), "-nic", "none", "-nodefaults", "-no-user-config",
		"-display", "none", "-monitor", "none", "-no-reboot", "-kernel", k.Image,
		"-append", strings.TrimSpace("console=ttyS0 panic=-1 quiet mitigations=off "+words))...)
}

// accelerator trusts /dev/kvm only where the processor itself has virtualisation: elsewhere a kvm may
// exist that emulates each instruction of a kernel, slower than qemu does.
func accelerator() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	words := " " + strings.Join(strings.Fields(string(info)), " ") + " "
	if err == nil && (strings.Contains(words, " vmx ") || strings.Contains(words, " svm ")) {
		if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
			_ = f.Close()
			return "kvm"
		}
	}
	return "tcg,thread=multi"
}

// GoBuild runs the go command so that what it builds is static: a guest need have no libc.
func GoBuild(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
