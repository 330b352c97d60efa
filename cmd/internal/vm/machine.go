package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ExitLine is how the guest tells the exit code of its last program, on a line of its own.
const ExitLine = "VM-EXIT-CODE "

// PlanPath is where the guest finds its Programs, ModulesDir where the kernel modules in loading order.
const (
	PlanPath   = "/plan.json"
	ModulesDir = "/modules"
)

// A Program is run by the guest, in order with the others, until one fails.
type Program struct {
	Argv []string `json:"argv"`
	Dir  string   `json:"dir"`
	Env  []string `json:"env"`
}

// A Machine is what to boot: a kernel, the static guest program that is its init, files by their
// path in the guest, and what to run.
type Machine struct {
	Kernel   Kernel
	Guest    string
	Files    map[string]string // path in the guest → path here, all executable
	Programs []Program
	Memory   int // MiB
	CPUs     int
	Disk     string // raw image; /dev/nvme0n1 in the guest; none if empty
	Steady   bool   // its clock counts instructions, and it has one processor, whatever CPUs says
}

// modules are all that the project's tests need of a kernel.
func modules() []string {
	return []string{
		"wireguard", "tun", "veth", "bridge", "dummy", "vrf", "sch_netem", "sch_tbf", "nf_tables", "nft_ct", "nft_nat",
		"nft_masq", "nft_chain_nat", "nft_reject_inet", "nft_objref", "nft_dup_ipv4", "nft_dup_ipv6",
		"nft_queue", "nfnetlink_queue",
	}
}

// Run boots the machine, copies its console to out, and returns the exit code of its programs. A machine
// that ends without telling one (hang, panic) is an error.
func (m Machine) Run(ctx context.Context, out io.Writer) (int, error) {
	dir, err := os.MkdirTemp("", "warren-vm-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	image, err := m.initramfs()
	if err != nil {
		return 0, err
	}
	initrd := filepath.Join(dir, "initrd.cpio")
	if err := os.WriteFile(initrd, image, 0o600); err != nil {
		return 0, err
	}
	p := processor{accelerator: accelerator(), cpus: m.CPUs}
	if m.Steady {
		p = steady()
	}
	cmd := qemu(ctx, m.Kernel, p, m.Memory, "")
	cmd.Args = append(cmd.Args, "-serial", "stdio", "-initrd", initrd)
	if m.Disk != "" {
		cmd.Args = append(cmd.Args, "-drive", "file="+m.Disk+",format=raw,if=none,id=d0", "-device", "nvme,drive=d0,serial=disk")
	}
	cmd.Stderr = out
	console, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start qemu: %v", err)
	}
	code, told := watch(console, out)
	err = cmd.Wait()
	if !told {
		return 0, errors.Join(errors.New("the VM ended without an exit code: it hung, panicked or ran out of time"), ctx.Err(), err)
	}
	return code, nil
}

// watch copies the console and looks for the exit code.
func watch(console io.Reader, out io.Writer) (code int, told bool) {
	lines := bufio.NewScanner(console)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		if word, ok := strings.CutPrefix(line, ExitLine); ok {
			n, err := strconv.Atoi(word)
			code, told = n, err == nil
			continue
		}
		fmt.Fprintln(out, line)
	}
	return code, told
}

func (m Machine) initramfs() ([]byte, error) {
	a := newArchive()
	for _, d := range []string{"proc", "sys", "dev", "run", "tmp", "etc", "var/lib", "root"} {
		a.dir(d)
	}
	a.link("var/run", "../run")
	a.file("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"))
	a.file("etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n"))
	// nft says "icmp" only where this says so, and else a number.
	a.file("etc/protocols", 0o644, []byte("icmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\n"))
	a.file("etc/hosts", 0o644, []byte("127.0.0.1 localhost vm\n::1 localhost\n"))
	if err := a.copy("init", m.Guest, 0o755); err != nil {
		return nil, err
	}
	order, err := moduleOrder(m.Kernel.Modules, modules())
	if err != nil {
		return nil, err
	}
	for i, path := range order {
		if err := a.copy(fmt.Sprintf("%s/%03d-%s", ModulesDir, i, filepath.Base(path)), path, 0o644); err != nil {
			return nil, err
		}
	}
	for name, from := range m.Files {
		if err := a.copy(name, from, 0o755); err != nil {
			return nil, err
		}
	}
	plan, err := json.Marshal(m.Programs)
	if err != nil {
		return nil, err
	}
	a.file(PlanPath, 0o644, plan)
	return a.bytes(), nil
}
