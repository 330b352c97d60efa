package linux

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"syscall"
	"testing"

	"github.com/warren-mesh/warren/agent/linux/nettest"
)

// plainTunnels starts wireguard-go itself, for comparison.
type plainTunnels struct {
	t       testing.TB
	program string
}

func (p plainTunnels) Start(_ context.Context, name string, _ int) error {
	cmd := exec.Command(p.program, "--foreground", name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a scheduling group of its own, as ours
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	nettest.Eventually(p.t, "wireguard-go answers", func() bool {
		c, err := net.Dial("unix", socketPath(name))
		return err == nil && c.Close() == nil
	})
	return nil
}

func (plainTunnels) Hold(string) func(context.Context) error {
	return func(context.Context) error { return nil }
}

// BenchmarkStream moves data through a tunnel over TCP, and reports the memory of its process under load.
// With wireguard-go in PATH it also measures that, under the same conditions.
func BenchmarkStream(b *testing.B) {
	b.Run("warren", func(b *testing.B) { stream(b, nil) })
	if plain, err := exec.LookPath("wireguard-go"); err == nil {
		b.Run("wireguard-go", func(b *testing.B) { stream(b, plainTunnels{b, plain}) })
	}
}

func stream(b *testing.B, tunnels Tunnels) {
	one, two := newPair(b)
	for _, s := range []*side{one, two} {
		if tunnels != nil {
			s.kernel.tunnels = tunnels
		}
	}
	two.apply(b, two.steps(2, 1, "192.0.2.1:51820", 51821)...)
	one.apply(b, one.steps(1, 2, "192.0.2.2:51821", 51820)...)
	from, to := connect(b, one, two)
	block := make([]byte, 1<<20)
	b.SetBytes(int64(len(block)))
	done := make(chan error, 1)
	b.ResetTimer()
	go func() {
		for range b.N {
			if _, err := from.Write(block); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	_, err := io.CopyN(io.Discard, to, int64(b.N)*int64(len(block)))
	if err := errors.Join(err, <-done); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if one.kernel.Backend() == Userspace {
		b.ReportMetric(resident(b, listenerOf(b, one.link)), "MiB-RSS")
	}
}

// connect opens a TCP connection through the tunnel.
func connect(t testing.TB, a, b *side) (from, to net.Conn) {
	t.Helper()
	var l net.Listener
	var err error
	b.Do(func() { l, err = net.Listen("tcp", netip.AddrPortFrom(inside(2), 80).String()) })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a.Do(func() { from, err = net.Dial("tcp", l.Addr().String()) })
	if err == nil {
		to, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { from.Close(); to.Close() })
	return from, to
}
