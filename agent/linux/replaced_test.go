package linux

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// replacements are as many as surely meet packets.
const replacements = 100

// A shower is datagrams from a host to an address, one each 200 µs, until it ends and tells how many were sent.
func shower(t *testing.T, from *nettest.Host, to string) (end func() (sent int)) {
	t.Helper()
	sent := 0
	var c net.Conn
	var err error
	from.Do(func() { c, err = net.Dial("udp", to) })
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(200 * time.Microsecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				_, _ = c.Write([]byte("order")) // whether it may is what is measured
				sent++
			}
		}
	})
	return func() int {
		close(stop)
		done.Wait()
		_ = c.Close()
		return sent
	}
}

// TestReplacedGuardRefusesNothing: what one guard lets in and the next one as well passes while the one follows on the other, also by
// ranges of ports and of addresses.
func TestReplacedGuardRefusesNothing(t *testing.T) {
	w := newWalled(t)
	services := func(n int) (all []string) {
		for i := range 50 {
			all = append(all, fmt.Sprintf("tcp/%d-%d", 10_000+1000*n+10*i, 10_005+1000*n+10*i))
		}
		return append(all, "udp")
	}
	w.allow(services(0)...)
	hears := listenUDP(t, w.hears, "10.90.0.1:5432")
	end := shower(t, w.asks, "10.90.0.1:5432")
	var arrived atomic.Int64
	var done sync.WaitGroup
	done.Go(func() {
		for err := error(nil); err == nil; arrived.Add(1) {
			_, _, err = hears.ReadFrom(make([]byte, 64))
		}
	})
	for n := range replacements {
		w.allow(services(n % 2)...)
	}
	sent := end()
	_ = hears.SetReadDeadline(time.Now().Add(time.Second))
	done.Wait()
	if lost := sent - int(arrived.Load()-1); lost != 0 {
		t.Errorf("%d of %d packets were refused", lost, sent)
	}
	w.allow("icmp")
	before := w.count(peers.CounterRefused)
	defer shower(t, w.asks, "10.90.0.1:5432")()
	for deadline := time.Now().Add(5 * time.Second); w.count(peers.CounterRefused) == before; {
		if time.Now().After(deadline) {
			t.Fatal("nothing is refused by a guard that should: this test sees nothing")
		}
	}
}

// TestReplacedGuardKeepsIn: what the leak guard keeps in, it keeps in while one follows on the other.
func TestReplacedGuardKeepsIn(t *testing.T) {
	c := newCrossroads(t)
	c.beyond.Do(func() { c.beyond.AddressOn("lo", netip.MustParsePrefix("10.77.0.5/32")) })
	route(t, c.hears, "10.77.0.0/24", "10.20.0.9")
	hears := listenUDP(t, c.beyond, "10.77.0.5:5432")
	arrives := func(within time.Duration) bool {
		_ = hears.SetReadDeadline(time.Now().Add(within))
		_, _, err := hears.ReadFrom(make([]byte, 64))
		return err == nil
	}
	guard := func(n int) {
		p := planFor(1)
		p.Gate = &peers.Gate{Version: peers.GateVersion, Policy: true, Remote: prefixes("10.77.0.0/24", fmt.Sprintf("10.78.%d.0/24", n))}
		for i := range 200 { // so that it takes a while
			p.Gate.Rules = append(p.Gate.Rules, peers.GateRule{
				Flow: i + 1, From: []peers.Selector{{Kind: peers.SelectAll}}, To: prefixes("10.90.0.1/32"),
				Allow: []peers.Service{{Protocol: peers.TCP, Ports: peers.Ports{First: uint16(10_000 + 10*i), Last: uint16(10_005 + 10*i)}}},
			})
		}
		subject{kernel: c.kernel}.apply(t, peers.SetGuard{Guard: p.CompileGuard(peers.GuardOptions{})})
	}
	guard(0)
	end := shower(t, c.hears, "10.77.0.5:5432")
	for n := range replacements {
		guard(n % 2)
	}
	end()
	if c.count(peers.CounterLeaked) == 0 {
		t.Error("nothing was to be kept in: this test sees nothing")
	}
	leaked := 0
	for arrives(100 * time.Millisecond) {
		leaked++
	}
	if leaked > 0 {
		t.Errorf("%d packets have left", leaked)
	}
	subject{kernel: c.kernel}.apply(t, peers.DelGuard{})
	defer shower(t, c.hears, "10.77.0.5:5432")()
	if !arrives(5 * time.Second) {
		t.Error("without a guard nothing arrives either: this test sees nothing")
	}
}
