package limit_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/controller/limit"
)

func TestAttempts(t *testing.T) {
	var a limit.Attempts
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	guesser := netip.MustParseAddr("192.0.2.1")
	n := 0
	for ; a.Wait(guesser, now) == 0; n++ {
		if n > 1000 {
			t.Fatal("a thousand failures and no end")
		}
		a.Failed(guesser, now)
	}
	if n != 20 {
		t.Errorf("%d failures at once, want 20", n)
	}
	if wait := a.Wait(guesser, now); wait <= 0 || wait > 3*time.Second {
		t.Errorf("wait of %v, want at most 3 s", wait)
	}
	if wait := a.Wait(guesser, now.Add(3*time.Second)); wait != 0 {
		t.Errorf("wait of %v three seconds later", wait)
	}
	if wait := a.Wait(netip.MustParseAddr("192.0.2.2"), now); wait != 0 {
		t.Errorf("the neighbour has to wait %v", wait)
	}
	if wait := a.Wait(netip.MustParseAddr("::ffff:192.0.2.1"), now); wait == 0 {
		t.Error("the same address in IPv6 clothes does not have to wait")
	}
}

func TestOneCustomerOfIPv6IsOneSource(t *testing.T) {
	var a limit.Attempts
	now := time.Now()
	for i := range 20 {
		b := netip.MustParseAddr("2001:db8::").As16()
		b[15] = byte(i)
		a.Failed(netip.AddrFrom16(b), now)
	}
	if a.Wait(netip.MustParseAddr("2001:db8::ffff"), now) == 0 {
		t.Error("another address of the same /64 does not have to wait")
	}
	if a.Wait(netip.MustParseAddr("2001:db8:0:1::1"), now) != 0 {
		t.Error("another /64 has to wait")
	}
}

// TestTableIsBounded fills the table with sources that recover and with such that do not.
func TestTableIsBounded(t *testing.T) {
	var a limit.Attempts
	now := time.Now()
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range 25_000 {
		for range 20 {
			a.Failed(address(i), now)
		}
	}
	if a.Wait(address(24_999), now) == 0 {
		t.Error("the last source does not have to wait")
	}
	if a.Wait(address(1), now) != 0 {
		t.Error("25,000 sources are remembered, want 10,000 at most")
	}
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limit.NewGate(1, 1, time.Minute)
		leave, err := g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		in := make(chan func())
		go func() {
			leave, err := g.Enter(t.Context())
			if err != nil {
				t.Error(err)
			}
			in <- leave
		}()
		synctest.Wait()
		if _, err := g.Enter(t.Context()); !errors.Is(err, limit.ErrBusy) {
			t.Errorf("with one working and one waiting: %v, want ErrBusy", err)
		}
		leave()
		leave() // twice is once
		second := <-in
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.Enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting ended with %v", err)
		}
		second()
		third, err := g.Enter(t.Context())
		if err != nil {
			t.Fatalf("an empty gate: %v", err)
		}
		// One who stays too long is not counted any more, and leaving late takes no place from others.
		<-time.After(2 * time.Minute)
		fourth, err := g.Enter(t.Context())
		if err != nil {
			t.Fatalf("behind one who stays too long: %v", err)
		}
		third()
		if _, err := g.Enter(ctx); err == nil {
			t.Error("there is a place too many")
		}
		fourth()
	})
}
