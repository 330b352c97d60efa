package hand

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// pair is both ends, without a guest in between.
func pair(t *testing.T, e Errands) *Client {
	t.Helper()
	here, there := net.Pipe()
	go func() { _ = NewServer(e).Serve(there) }() // it ends with the pipe
	c := NewClient(here)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRun(t *testing.T) {
	c := pair(t, Errands{})
	sh := func(script, stdin string, timeout time.Duration) Result {
		t.Helper()
		r, err := c.Run(t.Context(), Command{Argv: []string{"/bin/sh", "-c", script}, Stdin: stdin, Timeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := sh("cat; echo no >&2; exit 3", "yes", time.Minute); r != (Result{Code: 3, Stdout: "yes", Stderr: "no\n"}) {
		t.Errorf("got %+v", r)
	}
	if r := sh("exit 0", "", time.Minute); r != (Result{}) {
		t.Errorf("got %+v", r)
	}
	if r := sh("exec sleep 600", "", 50*time.Millisecond); r.Code != -1 || !strings.Contains(r.Stderr, "not done within") {
		t.Errorf("out of time: %+v", r)
	}
	// What stays in the background holds nobody up.
	if r := sh("sleep 600 & echo $!", "", time.Minute); r.Code != 0 || sh("kill "+r.Stdout, "", time.Minute).Code != 0 {
		t.Errorf("in the background: %+v", r)
	}
	if _, err := c.Run(t.Context(), Command{Argv: []string{"/nowhere"}, Timeout: time.Minute}); err == nil {
		t.Error("a program that does not exist was run")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Run(ctx, Command{Argv: []string{"/bin/sleep", "1"}, Timeout: time.Minute}); err == nil {
		t.Error("a call that was given up has an answer")
	}
}

func TestFlow(t *testing.T) {
	at := freePort(t)
	c := pair(t, Errands{First: at, Flood: []netip.AddrPort{at}})
	if b, err := c.Boot(t.Context()); err != nil || b.Answer != 0 {
		t.Errorf("an answer before there is somebody: %+v, %v", b, err)
	}
	if err := c.Echo(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if err := c.Echo(t.Context(), at); err != nil {
		t.Errorf("asked again: %v", err)
	}
	begin := func(name string, to netip.AddrPort) {
		t.Helper()
		if err := c.Begin(t.Context(), FlowSpec{Name: name, To: to, PerSecond: 500}); err != nil {
			t.Fatal(err)
		}
	}
	begin("heard", at)
	begin("unheard", freePort(t))
	if err := c.Begin(t.Context(), FlowSpec{Name: "heard", To: at, PerSecond: 1}); err == nil {
		t.Error("two flows of one name")
	}
	until(t, func() bool {
		f, err := c.Look(t.Context(), "heard")
		return err == nil && f.Answered >= 20
	})
	if f, err := c.End(t.Context(), "heard"); err != nil || f.Lost() != 0 || f.Sent < 20 || f.Gap == 0 {
		t.Errorf("heard: %+v, %v", f, err)
	}
	if f, err := c.End(t.Context(), "unheard"); err != nil || f.Answered != 0 || f.Lost() != f.Sent || f.Sent == 0 {
		t.Errorf("unheard: %+v, %v", f, err)
	}
	if _, err := c.Look(t.Context(), "heard"); err == nil {
		t.Error("a flow that has ended goes on")
	}
}

// freePort is one on an address that no socket gets by itself.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.2:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func until(t *testing.T, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("it does not come")
		}
	}
}

// TestFloodAndWatch has a guest flood from its start, and sees that on the wire.
func TestFloodAndWatch(t *testing.T) {
	at := freePort(t)
	c := pair(t, Errands{Flood: []netip.AddrPort{at}})
	if _, err := c.Watched(t.Context()); err == nil {
		t.Error("what nobody watches is told")
	}
	if err := c.Watch(t.Context(), WatchSpec{Link: "nolink", Content: "x"}); err == nil {
		t.Error("a link that does not exist is watched")
	}
	if err := c.Watch(t.Context(), WatchSpec{Link: "lo", Content: FloodContent}); err != nil {
		t.Skip("not root: ", err)
	}
	until(t, func() bool {
		seen, err := c.Watched(t.Context())
		sent, failed := c.Flooded(t.Context())
		return err == nil && failed == nil && seen.Found > 20 && seen.Packets >= seen.Found && sent.Sent+sent.NoWay > 20
	})
	if err := c.Watch(t.Context(), WatchSpec{Link: "lo", Content: FloodContent + " of somebody else"}); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		seen, err := c.Watched(t.Context())
		return err == nil && seen.Packets > 20
	})
	if seen, err := c.Watched(t.Context()); err != nil || seen.Found != 0 {
		t.Errorf("what is not on the wire was found: %+v, %v", seen, err)
	}
}
