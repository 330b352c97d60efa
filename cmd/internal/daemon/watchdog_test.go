package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestNoBeatWhileStuck: what does not come round is not alive, for as long as that lasts.
func TestNoBeatWhileStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		stuck := make(chan struct{})
		var beats atomic.Int32
		var fails atomic.Bool
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			beat(ctx, 10*time.Second, func(context.Context) error {
				<-stuck
				if fails.Load() {
					return errors.New("it says so itself")
				}
				return nil
			}, func() { beats.Add(1) })
		}()
		pass := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		if pass(time.Hour); beats.Load() != 0 {
			t.Errorf("%d beats of a service that is stuck", beats.Load())
		}
		close(stuck)
		if pass(time.Minute); beats.Load() < 6 || beats.Load() > 8 {
			t.Errorf("%d beats in a minute, want one every 10 s", beats.Load())
		}
		fails.Store(true)
		before := beats.Load()
		if pass(time.Minute); beats.Load() != before {
			t.Errorf("%d beats of a service that fails", beats.Load()-before)
		}
		cancel()
		<-ended
	})
}

// TestWatchdogServesTheUnit: with WatchdogSec= it speaks, without it nothing is asked.
func TestWatchdogServesTheUnit(t *testing.T) {
	at := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	socket, err := net.ListenUnixgram("unixgram", at)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", at.Name)
	alive := func(context.Context) error { return nil }
	t.Setenv("WATCHDOG_USEC", "")
	Watchdog(t.Context(), slog.New(slog.DiscardHandler), func(context.Context) error {
		t.Error("asked without a watchdog")
		return nil
	})

	t.Setenv("WATCHDOG_USEC", "30000")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Watchdog(ctx, slog.New(slog.DiscardHandler), alive)
	}()
	for range 3 {
		buf := make([]byte, 100)
		if err := socket.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := socket.Read(buf); err != nil || string(buf[:n]) != "WATCHDOG=1" {
			t.Fatalf("told systemd %q, %v", buf[:n], err)
		}
	}
	cancel()
	<-ended
}
