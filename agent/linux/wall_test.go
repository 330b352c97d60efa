package linux

import (
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// A walled pair is two hosts with a cable that has the name of a tunnel at both ends: the guard asks for the name.
type walled struct {
	t           testing.TB
	asks, hears *nettest.Host
	kernel      *Kernel // of the one that hears
}

func newWalled(t testing.TB) *walled {
	w := &walled{t: t, asks: nettest.NewHost(t), hears: nettest.NewHost(t)}
	nettest.Join(t, w.asks, w.hears, netip.MustParsePrefix("10.90.0.2/16"), netip.MustParsePrefix("10.90.0.1/16"))
	for _, h := range []*nettest.Host{w.asks, w.hears} {
		h.Do(func() {
			link, err := netlink.LinkByName("eth0")
			if err == nil {
				err = netlink.LinkSetDown(link)
			}
			if err == nil {
				err = netlink.LinkSetName(link, "wrn0")
			}
			if err == nil {
				err = netlink.LinkSetUp(link)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	w.hears.Do(func() {
		var err error
		if w.kernel, err = New(Options{Backend: None}); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() {
		if err := w.kernel.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// allow puts a policy in force at the host that hears: services that the other one may ask for.
func (w *walled) allow(services ...string) {
	w.t.Helper()
	w.allowFrom(peers.Selector{Kind: peers.SelectHost, Name: "host0"}, services...)
}

// allowFrom is the same for anybody.
func (w *walled) allowFrom(who peers.Selector, services ...string) {
	w.t.Helper()
	p := planFor(1)
	p.Peers[0].Prefixes = prefixes("10.90.0.2/32", "fd00:90::2/128")
	rule := peers.GateRule{Flow: 1, From: []peers.Selector{who}, To: prefixes("10.90.0.1/32", "fd00:90::1/128")}
	p.Gate = &peers.Gate{Version: 1, Policy: true}
	for i, text := range services {
		r := rule
		r.Flow = i + 1
		if err := json.Unmarshal([]byte(`["`+text+`"]`), &r.Allow); err != nil {
			w.t.Fatal(err)
		}
		p.Gate.Rules = append(p.Gate.Rules, r)
	}
	if err := w.kernel.Apply(w.t.Context(), []peers.Step{peers.SetGuard{Guard: p.CompileGuard(peers.GuardOptions{})}}); err != nil {
		w.t.Fatal(err)
	}
}

// echo answers on a port of both protocols.
func (w *walled) echo(port string) {
	w.t.Helper()
	w.hears.Do(func() {
		l, err := net.Listen("tcp", "10.90.0.1:"+port)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(c, c) }()
			}
		}()
	})
}

func (w *walled) dial(port string) (c net.Conn) {
	w.asks.Do(func() { c, _ = net.DialTimeout("tcp", "10.90.0.1:"+port, 300*time.Millisecond) })
	if c != nil {
		w.t.Cleanup(func() { _ = c.Close() })
	}
	return c
}

func answers(c net.Conn, within time.Duration) bool {
	if c == nil || c.SetDeadline(time.Now().Add(within)) != nil {
		return false
	}
	if _, err := c.Write([]byte("order")); err != nil {
		return false
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	return err == nil
}

func (w *walled) count(name string) uint64 {
	w.t.Helper()
	all, err := w.kernel.Counters(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return all[name].Packets
}

// TestWallDecides: what a flow allows passes and is counted, the rest is dropped and counted, and a flow that
// closes is cut in both directions, connections that are open too.
func TestWallDecides(t *testing.T) {
	w := newWalled(t)
	w.echo("5432")
	w.echo("22")
	w.allow("tcp/5430-5440", "icmp")
	open := w.dial("5432")
	if !answers(open, 5*time.Second) {
		t.Fatal("what is allowed does not pass")
	}
	if w.dial("22") != nil {
		t.Error("what is not allowed passes")
	}
	if n := w.count(peers.CounterRefused); n == 0 {
		t.Error("what was refused is not counted")
	}
	seen := w.count(w.counterOf("tcp/5430-5440"))
	if seen < 4 {
		t.Errorf("%d packets of the flow were counted", seen)
	}
	w.allow("tcp/22", "tcp/5430-5440") // another number, and the same flow
	if !answers(open, 5*time.Second) {
		t.Error("a connection of a flow that stays was cut")
	}
	if after := w.count(w.counterOf("tcp/5430-5440")); after < seen {
		t.Errorf("the counter of a flow that stays went from %d to %d", seen, after)
	}
	w.allow("tcp/22")
	if answers(open, time.Second) {
		t.Error("a connection of a flow that was closed goes on")
	}
	if !answers(w.dial("22"), 5*time.Second) {
		t.Error("a flow that was opened is closed")
	}
}

// counterOf is the counter of the rule that allow makes of a service.
func (w *walled) counterOf(service string) string {
	w.t.Helper()
	p := planFor(1)
	p.Gate = &peers.Gate{Version: 1, Policy: true, Rules: []peers.GateRule{{
		Flow: 1, From: []peers.Selector{{Kind: peers.SelectHost, Name: "host0"}}, To: prefixes("10.90.0.1/32", "fd00:90::1/128"),
	}}}
	if err := json.Unmarshal([]byte(`["`+service+`"]`), &p.Gate.Rules[0].Allow); err != nil {
		w.t.Fatal(err)
	}
	return p.CompileGuard(peers.GuardOptions{}).Wall.Counter(1)
}

// TestWallCutsAnswers closes a flow on which only the host that was asked has something to say.
func TestWallCutsAnswers(t *testing.T) {
	w := newWalled(t)
	w.allow("udp/5000")
	var server, client *net.UDPConn
	var err error
	w.hears.Do(func() { server, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(10, 90, 0, 1), Port: 5000}) })
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	w.asks.Do(func() { client, err = net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr)) })
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write([]byte("subscribe")); err != nil {
		t.Fatal(err)
	}
	_ = server.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, asker, err := server.ReadFromUDPAddrPort(make([]byte, 64))
	if err != nil {
		t.Fatal("what is allowed does not pass")
	}
	arrives := func() bool {
		_, _ = server.WriteToUDPAddrPort([]byte("order"), asker) // whether it may is what is asked
		_ = client.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, err := client.Read(make([]byte, 64))
		return err == nil
	}
	if !arrives() {
		t.Fatal("the answer does not pass")
	}
	w.allow("icmp")
	if arrives() {
		t.Error("after the flow was closed, answers go on")
	}
}
