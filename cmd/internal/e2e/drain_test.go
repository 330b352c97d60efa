package e2e

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// tunnels are the processes that carry the tunnels of a host; none on kernel WireGuard.
func (m *mesh) tunnels(host string) (out []*os.Process) {
	m.t.Helper()
	var own os.FileInfo
	if err := m.lab.Host(host).Do(func() (err error) {
		own, err = os.Stat("/proc/thread-self/ns/net")
		return err
	}); err != nil {
		m.t.Fatal(err)
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		m.t.Fatal(err)
	}
	for _, dir := range all {
		its, err := os.Stat(dir + "/ns/net")
		if err != nil || !os.SameFile(its, own) {
			continue // of another host, or it has ended
		}
		command, _ := os.ReadFile(dir + "/cmdline")
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || !bytes.Contains(command, []byte("\x00tunnel\x00")) {
			continue
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			m.t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// Times of a gateway whose tunnel carries packets in bursts only: each waits for as long as it stands still.
const (
	stillFor, runsFor = 40 * time.Millisecond, 15 * time.Millisecond
)

// stutter has the tunnel of a host carry packets in bursts, as on a slow way to the internet, until it ends.
func (m *mesh) stutter(host string) (end func()) {
	m.t.Helper()
	processes := m.tunnels(host)
	if len(processes) == 0 {
		m.t.Skip("the kernel carries the tunnels: there is no process to hold up")
	}
	stop, done := make(chan struct{}), make(chan struct{})
	signal := func(s syscall.Signal, rest time.Duration) bool {
		for _, p := range processes {
			_ = p.Signal(s) // one that has ended is no tunnel any more
		}
		select {
		case <-stop:
			return false
		case <-time.After(rest):
			return true
		}
	}
	go func() {
		defer close(done)
		for signal(syscall.SIGSTOP, stillFor) && signal(syscall.SIGCONT, runsFor) {
			continue
		}
		for _, p := range processes {
			_ = p.Signal(syscall.SIGCONT)
		}
	}()
	return func() {
		close(stop)
		<-done
	}
}

// TestSlowGatewayHandsOver: what goes out by way of the next gateway is there before what the old one sends itself. No
// packet is lost all the same, in neither direction.
func TestSlowGatewayHandsOver(t *testing.T) {
	m := twoGateways(t)
	traffics := map[string]*traffic{
		"to the mesh":   flowAt(t, m.lab.Host("erp"), m.lab.Host("till"), netip.MustParseAddr("10.10.0.7"), 500),
		"from the mesh": flowAt(t, m.lab.Host("till"), m.lab.Host("erp"), netip.MustParseAddr(erpAddress), 500),
	}
	acting, other := "wh1", "wh2"
	for range 4 {
		runs := m.stutter(acting)
		m.must(lab.DefaultController, "host", "drain", acting, "--wait")
		m.acts(other, "shop", "wh1", "wh2")
		runs()
		until(t, patience, other+" has the virtual address", func() bool { return m.holdsVirtual(other) })
		m.must(lab.DefaultController, "host", "undrain", acting)
		m.fit(other, acting, true)
		acting, other = other, acting
	}
	for name, tr := range traffics {
		tr.more(200)
		if sent, lost := tr.end(); lost > 0 {
			t.Errorf("%s: lost %d of %d, sent at %v", name, lost, sent, tr.losses(20))
		} else {
			t.Logf("%s: lost none of %d", name, sent)
		}
	}
}
