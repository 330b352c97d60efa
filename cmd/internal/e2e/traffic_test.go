package e2e

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// perSecond is the rate of a traffic.
const perSecond = 100

// A traffic sends numbered datagrams from one host to another, which sends each back.
type traffic struct {
	t      testing.TB
	client *net.UDPConn
	server *net.UDPConn
	stop   chan struct{}
	sent   chan int

	mu   sync.Mutex
	back map[uint64]time.Time
}

// flow starts traffic to an address of the other host. It waits for the first answer.
func flow(t testing.TB, from, to *lab.Host, addr netip.Addr) *traffic {
	t.Helper()
	tr := &traffic{t: t, stop: make(chan struct{}), sent: make(chan int, 1), back: map[uint64]time.Time{}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(to.Do(func() (err error) {
		tr.server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	}))
	t.Cleanup(func() { _ = tr.server.Close() })
	must(from.Do(func() (err error) {
		tr.client, err = net.DialUDP("udp", nil, tr.server.LocalAddr().(*net.UDPAddr))
		return err
	}))
	t.Cleanup(func() { _ = tr.client.Close() })
	go tr.echo()
	go tr.collect()
	go tr.send()
	until(t, patience, "the first answer through the tunnel", func() bool { return tr.answers() > 0 })
	return tr
}

func (tr *traffic) echo() {
	buf := make([]byte, 64)
	for {
		n, from, err := tr.server.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		_, _ = tr.server.WriteToUDPAddrPort(buf[:n], from) // a lost answer is counted as one
	}
}

func (tr *traffic) collect() {
	buf := make([]byte, 64)
	for {
		n, err := tr.client.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n == 8 {
			tr.mu.Lock()
			tr.back[binary.BigEndian.Uint64(buf)] = time.Now()
			tr.mu.Unlock()
		}
	}
}

func (tr *traffic) send() {
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tr.stop:
			tr.sent <- n
			return
		case <-tick.C:
			_, _ = tr.client.Write(binary.BigEndian.AppendUint64(nil, uint64(n))) // counted by its answer
		}
	}
}

func (tr *traffic) answers() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.back)
}

// more waits for that many more answers: traffic flows.
func (tr *traffic) more(n int) {
	tr.t.Helper()
	have := tr.answers()
	until(tr.t, patience, "traffic flows", func() bool { return tr.answers() >= have+n })
}

// quiet waits until no answer has come for a while, and gives the time of the last one.
func (tr *traffic) quiet(within, since time.Duration) time.Time {
	tr.t.Helper()
	var last time.Time
	until(tr.t, within, "traffic ceases", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		for _, at := range tr.back {
			if at.After(last) {
				last = at
			}
		}
		return time.Since(last) > since
	})
	return last
}

// end stops sending, waits for what is under way, and gives how many were sent and how many lost.
func (tr *traffic) end() (sent, lost int) {
	tr.t.Helper()
	close(tr.stop)
	sent = <-tr.sent
	deadline := time.Now().Add(3 * time.Second)
	for tr.answers() < sent && time.Now().Before(deadline) {
		<-time.After(10 * time.Millisecond)
	}
	return sent, sent - tr.answers()
}
