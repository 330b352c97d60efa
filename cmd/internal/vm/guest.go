package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/vm/hand"
)

// A GuestSpec is a Debian machine with systemd to boot.
type GuestSpec struct {
	Name    string // also its host name
	Dir     string // for its console and sockets; a short path
	Kernel  Kernel
	Disk    string // raw image; what the guest writes stays in it
	Payload string // raw image that the guest finds at /payload
	MAC     string
	Link    [2]string // unix sockets of the two ends of its network cable, its own first
	Words   string    // more words for the kernel's command line
	Clock   time.Time // what its clock shows at the start; now if zero
	Memory  int       // MiB
}

// A Guest is a machine that runs.
type Guest struct {
	Hand *hand.Client

	spec  GuestSpec
	cmd   *exec.Cmd
	ended chan struct{}
}

// Boot starts a machine and returns when its hand answers.
func Boot(ctx context.Context, spec GuestSpec) (*Guest, error) {
	console, err := os.OpenFile(filepath.Join(spec.Dir, spec.Name+".console"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer console.Close()
	socket := filepath.Join(spec.Dir, spec.Name+".hand")
	if err := os.RemoveAll(socket); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	cmd := spec.command(socket)
	cmd.Stdout, cmd.Stderr = console, console
	// A test that is killed takes its machines with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start qemu: %v", err)
	}
	g := &Guest{spec: spec, cmd: cmd, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // the console tells why
		_ = l.Close()
		close(g.ended)
	}()
	if err := g.shake(ctx, l); err != nil {
		return nil, errors.Join(fmt.Errorf("boot %s: %w\n%s", spec.Name, err, g.Console()), g.Cut())
	}
	return g, nil
}

func (s GuestSpec) command(socket string) *exec.Cmd {
	words := "root=/dev/nvme0n1 rw net.ifnames=0 systemd.show_status=0 systemd.hostname=" + s.Name + " " + s.Words
	cmd := qemu(context.Background(), s.Kernel, processor{accelerator: accelerator(), cpus: 2}, s.Memory, words)
	if !s.Clock.IsZero() {
		cmd.Args = append(cmd.Args, "-rtc", "base="+s.Clock.UTC().Format("2006-01-02T15:04:05"))
	}
	cmd.Args = append(cmd.Args, "-serial", "stdio",
		"-drive", "file="+s.Disk+",format=raw,if=none,id=d0", "-device", "nvme,drive=d0,serial=root",
		"-drive", "file="+s.Payload+",format=raw,if=none,id=d1,readonly=on", "-device", "nvme,drive=d1,serial=payload",
		"-netdev", "dgram,id=n0,local.type=unix,local.path="+s.Link[0]+",remote.type=unix,remote.path="+s.Link[1],
		"-device", "virtio-net-pci,netdev=n0,romfile=,mac="+s.MAC,
		"-chardev", "socket,id=c0,path="+socket, "-device", "virtio-serial-pci",
		"-device", "virtserialport,chardev=c0,name=warren")
	return cmd
}

// shake takes the call of qemu and waits until somebody in the guest answers.
func (g *Guest) shake(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	conn, err := l.Accept()
	if err != nil {
		return errors.Join(errors.New("qemu does not come"), ctx.Err())
	}
	g.Hand = hand.NewClient(conn)
	_, err = g.Hand.Boot(ctx)
	return err
}

// Cut takes the power away: nothing is synced, nobody is told.
func (g *Guest) Cut() error {
	err := g.cmd.Process.Kill()
	<-g.ended
	if g.Hand != nil {
		_ = g.Hand.Close() // its port is gone
	}
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Ended is closed when the machine is off.
func (g *Guest) Ended() <-chan struct{} { return g.ended }

// Console is the end of what the machine has said on its console.
func (g *Guest) Console() string {
	const most = 4096
	f, err := os.Open(filepath.Join(g.spec.Dir, g.spec.Name+".console"))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd) // or the beginning is shown
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Disk makes an ext4 image of a folder, for a payload.
func Disk(ctx context.Context, folder, image string) error {
	return errors.Join(os.RemoveAll(image),
		quietly(ctx, "mkfs.ext4", "-q", "-O", "^has_journal", "-d", folder, image, "400M"))
}

// Copy makes a copy of a disk image, without its holes.
func Copy(ctx context.Context, from, to string) error {
	return quietly(ctx, "cp", "--sparse=always", "--reflink=auto", from, to)
}
