package e2e

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
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
	rate   int

	mu   sync.Mutex
	back map[uint64]time.Time
	at   []time.Time // of sending
}

// flow starts traffic to an address of the other host. It waits for the first answer.
func flow(t testing.TB, from, to *lab.Host, addr netip.Addr) *traffic {
	t.Helper()
	return flowAt(t, from, to, addr, perSecond)
}

// flowAt is flow with a rate per second.
func flowAt(t testing.TB, from, to *lab.Host, addr netip.Addr, rate int) *traffic {
	t.Helper()
	tr := &traffic{rate: rate, t: t, stop: make(chan struct{}), sent: make(chan int, 1), back: map[uint64]time.Time{}}
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
	tick := time.NewTicker(time.Second / time.Duration(tr.rate))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tr.stop:
			tr.sent <- n
			return
		case <-tick.C:
			tr.mu.Lock()
			tr.at = append(tr.at, time.Now())
			tr.mu.Unlock()
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

// losses are the times at which packets were sent that were not answered, at most so many.
func (tr *traffic) losses(most int) (out []string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for n, at := range tr.at {
		if _, ok := tr.back[uint64(n)]; !ok && len(out) < most {
			out = append(out, at.UTC().Format("15:04:05.000"))
		}
	}
	return out
}

// lostSince is how many of those that were sent since a moment were not answered.
func (tr *traffic) lostSince(moment time.Time) (lost int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for n, at := range tr.at {
		if _, ok := tr.back[uint64(n)]; !ok && at.After(moment) {
			lost++
		}
	}
	return lost
}

// gap is the longest time without an answer since a moment.
func (tr *traffic) gap(since time.Time) time.Duration {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	at := []time.Time{since}
	for _, t := range tr.back {
		if t.After(since) {
			at = append(at, t)
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	longest := time.Duration(0)
	for i := 1; i < len(at); i++ {
		longest = max(longest, at[i].Sub(at[i-1]))
	}
	return longest
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
