package linux

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/agent/tunnel"
	"github.com/warren-mesh/warren/peers"
)

// TestTunnel has two hosts shake hands and talk, over an underlay of each family, in both families.
func TestTunnel(t *testing.T) {
	for _, underlay := range []struct{ name, one, two string }{
		{"over IPv4", "192.0.2.1:51820", "192.0.2.2:51821"},
		{"over IPv6", "[2001:db8::1]:51820", "[2001:db8::2]:51821"},
	} {
		t.Run(underlay.name, func(t *testing.T) {
			a, b := newPair(t)
			b.apply(t, b.steps(2, 1, underlay.one, 51821)...)
			start := time.Now()
			a.apply(t, a.steps(1, 2, underlay.two, 51820)...)
			for _, to := range []netip.Addr{inside(2), inside6(2)} {
				p := a.pinger(t, b.echo(t, to))
				p.answered(t, p.send(t))
			}
			t.Logf("%s: from nothing to answers in both families: %v", a.kernel.Backend(), time.Since(start))
			peer := a.observe(t).Peers[0]
			if peer.LastHandshake.IsZero() || peer.Rx == 0 || peer.Tx == 0 ||
				peer.Endpoint != netip.MustParseAddrPort(underlay.two) {
				t.Errorf("a peer that answers: %+v", peer)
			}
		})
	}
}

// starts is the command of a process that starts a tunnel and stays.
func starts(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s := tunnel.Starter{Program: self, LogDir: args[1]}
	if err := s.Start(context.Background(), args[0], 1420); err != nil {
		return err
	}
	fmt.Println("started")
	_, err = os.Stdin.Read(make([]byte, 1))
	return err
}

// TestTunnelOutlivesItsStarter ends the process that started a tunnel in every way that a process ends,
// while datagrams pass, and wants all of them answered.
func TestTunnelOutlivesItsStarter(t *testing.T) {
	a, b := newPair(t)
	if a.kernel.Backend() != Userspace {
		t.Skip("tunnels are the kernel's here")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "starts", a.link, t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	says, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	a.Do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(says).ReadString('\n'); line != "started\n" {
		t.Fatalf("the starter said %q, %v", line, err)
	}
	a.apply(t, a.steps(1, 2, "192.0.2.2:51821", 51820)[1:]...)
	b.apply(t, b.steps(2, 1, "192.0.2.1:51820", 51821)...)
	p := a.pinger(t, b.echo(t, inside(2)))
	p.answered(t, p.send(t))

	const many = 600
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := range many {
		switch i {
		case many / 4:
			sendSignal(t, -cmd.Process.Pid, syscall.SIGHUP)
		case many / 3:
			sendSignal(t, -cmd.Process.Pid, syscall.SIGTERM)
		case many / 2:
			sendSignal(t, -cmd.Process.Pid, syscall.SIGKILL)
		}
		p.send(t)
		<-tick.C
	}
	_ = cmd.Wait() // killed
	missing := map[uint64]bool{}
	for i := range uint64(many) {
		missing[i+2] = true
	}
	timeout := time.After(5 * time.Second)
	for len(missing) > 0 {
		select {
		case n := <-p.got:
			delete(missing, n)
		case <-timeout:
			t.Fatalf("%d of %d datagrams lost while the starter was killed", len(missing), many)
		}
	}
	// Who comes next finds the tunnel, and cannot start it again.
	a.Do(func() {
		err = tunnel.Starter{Program: self, LogDir: t.TempDir()}.Start(t.Context(), a.link, 1420)
	})
	if !errors.Is(err, tunnel.ErrRunning) {
		t.Errorf("a second start: %v", err)
	}
	p.answered(t, p.send(t))
}

func sendSignal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}

// listenerOf is the process that answers for an interface.
func listenerOf(t testing.TB, name string) int {
	t.Helper()
	c, err := net.Dial("unix", socketPath(name))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	u, ok := c.(*net.UnixConn)
	if !ok {
		t.Fatalf("dialled a %T", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var who *unix.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) { who, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, asked); err != nil {
		t.Fatal(err)
	}
	return int(who.Pid)
}

// ended says whether a process is gone altogether: not even a zombie is left.
func ended(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// TestTunnelEnds has a tunnel process end in the ways it may, and leave nothing.
func TestTunnelEnds(t *testing.T) {
	for _, how := range []struct {
		name string
		end  func(t *testing.T, k *Kernel, pid int)
	}{
		{"its interface is deleted", func(t *testing.T, _ *Kernel, _ int) { deleteLinks(t) }},
		{"by a step", func(t *testing.T, k *Kernel, _ int) {
			if err := k.Apply(t.Context(), []peers.Step{peers.DelLink{Name: "wrn0"}}); err != nil {
				t.Fatal(err)
			}
		}},
		{"SIGTERM", func(t *testing.T, _ *Kernel, pid int) { sendSignal(t, pid, syscall.SIGTERM) }},
		{"SIGKILL", func(t *testing.T, _ *Kernel, pid int) {
			sendSignal(t, pid, syscall.SIGKILL)
			nettest.Eventually(t, "it is gone", func() bool { return ended(pid) })
			if err := os.Remove(socketPath("wrn0")); err != nil { // nobody else is left to do it
				t.Error(err)
			}
		}},
	} {
		t.Run(how.name, func(t *testing.T) {
			k := newKernel(t)
			if k.Backend() != Userspace {
				t.Skip("tunnels are the kernel's here")
			}
			s := subject{kernel: k}
			s.up(t, "wrn0", 51820)
			pid := listenerOf(t, "wrn0")
			how.end(t, k, pid)
			nettest.Eventually(t, "the process is gone and reaped", func() bool { return ended(pid) })
			if l := s.observe(t).Links; len(l) != 0 {
				t.Errorf("links: %+v", l)
			}
			awaitSockets(t)
		})
	}
}

// TestTunnelAgain deletes an interface and wants it back at once, while its process is still leaving.
func TestTunnelAgain(t *testing.T) {
	s := subject{kernel: newKernel(t)}
	for range 10 {
		s.up(t, "wrn0", 51820)
		deleteLinks(t)
	}
}

// TestSocketRemoved takes the socket of a tunnel away, as systemd does with a runtime directory.
func TestSocketRemoved(t *testing.T) {
	k := newKernel(t)
	if k.Backend() != Userspace {
		t.Skip("tunnels are the kernel's here")
	}
	s := subject{kernel: k}
	s.up(t, "wrn0", 51820)
	pid := listenerOf(t, "wrn0")
	if err := os.RemoveAll("/var/run/wireguard"); err != nil {
		t.Fatal(err)
	}
	if l := s.link(t, "wrn0"); l.Backend != "" {
		t.Errorf("a tunnel without a socket: %+v", l)
	}
	nettest.Eventually(t, "the socket is back", func() bool { return s.link(t, "wrn0").Backend == Userspace })
	if again := listenerOf(t, "wrn0"); again != pid {
		t.Errorf("process %d answers, it was %d", again, pid)
	}
}

// TestSocketStale starts a tunnel where a dead process has left its socket.
func TestSocketStale(t *testing.T) {
	k := newKernel(t)
	if k.Backend() != Userspace {
		t.Skip("tunnels are the kernel's here")
	}
	if err := os.MkdirAll("/var/run/wireguard", 0o700); err != nil {
		t.Fatal(err)
	}
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: socketPath("wrn0"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	s := subject{kernel: k}
	if l := s.observe(t).Links; len(l) != 0 {
		t.Errorf("a socket counts as a link: %+v", l)
	}
	s.up(t, "wrn0", 51820)
	if l := s.link(t, "wrn0"); l.Backend != Userspace {
		t.Errorf("after a start: %+v", l)
	}
}

// TestTunnelSilent stops a tunnel process, so that it is there and says nothing.
func TestTunnelSilent(t *testing.T) {
	k := newKernel(t)
	if k.Backend() != Userspace {
		t.Skip("tunnels are the kernel's here")
	}
	s := subject{kernel: k}
	s.up(t, "wrn0", 51820)
	s.up(t, "wrn1", 51821)
	k.uapi.within = 500 * time.Millisecond
	pid := listenerOf(t, "wrn0")
	stop(t, pid)
	start := time.Now()
	for range 5 {
		state := s.observe(t)
		if len(state.Links) != 2 || state.Links[0].Backend != "" || state.Links[1].Backend != Userspace {
			t.Errorf("links: %+v", state.Links)
		}
	}
	err := k.Apply(t.Context(), []peers.Step{
		peers.SetPeer{Link: "wrn0", Key: public("a"), New: true},
		peers.SetPeer{Link: "wrn0", Key: public("b"), New: true},
		peers.SetPeer{Link: "wrn1", Key: public("a"), New: true},
	})
	if !errors.Is(err, errSilent) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v, want one that says who is silent", err)
	}
	if took := time.Since(start); took > 4*k.uapi.within {
		t.Errorf("a silent process held everything up for %v", took)
	}
	sendSignal(t, pid, syscall.SIGCONT)
	if l := s.link(t, "wrn1"); len(l.Peers) != 1 {
		t.Errorf("the other link: %+v", l)
	}
	nettest.Eventually(t, "it is back", func() bool { return s.link(t, "wrn0").Backend == Userspace })
	stop(t, pid)
	s.apply(t, peers.DelLink{Name: "wrn0"})
	port, err := net.ListenUDP("udp", &net.UDPAddr{Port: 51820})
	if err != nil {
		t.Fatalf("its interface is gone, and it keeps its port: %v", err)
	}
	port.Close()
}

// stop stops a process and waits until it has stopped.
func stop(t *testing.T, pid int) {
	t.Helper()
	sendSignal(t, pid, syscall.SIGSTOP)
	nettest.Eventually(t, "the process has stopped", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		return err == nil && strings.Contains(string(text), "\nState:\tT")
	})
}

// TestTunnelFails wants to know why a tunnel cannot be.
func TestTunnelFails(t *testing.T) {
	nettest.NeedTUN(t)
	nettest.Alone(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := tunnel.Starter{Program: self, LogDir: t.TempDir()}
	err = s.Start(t.Context(), "a-name-that-is-too-long", 1420)
	if err == nil || !strings.Contains(err.Error(), "create a-name-that-is-too-long") {
		t.Errorf("error %v, want the process's last words", err)
	}
}
