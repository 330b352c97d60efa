package probe

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"testing/quick"
	"time"

	"github.com/warren-mesh/warren/peers/wire"
)

// pair is one prober that answers on an address and one that asks. Both are on the loopback of the machine,
// with a port of their own.
func pair(t *testing.T, address string, known ...string) (asks *Prober, to netip.Addr) {
	t.Helper()
	to = netip.MustParseAddr(address)
	probe, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 0)))
	if err != nil {
		t.Skipf("no %s on this machine: %v", address, err)
	}
	port := uint16(probe.LocalAddr().(*net.UDPAddr).Port)
	_ = probe.Close()
	answers := New(slog.New(slog.DiscardHandler))
	answers.port = port
	t.Cleanup(answers.Close)
	var from []netip.Addr
	for _, k := range known {
		from = append(from, netip.MustParseAddr(k))
	}
	answers.Answer([]netip.Addr{to}, from)
	asks = New(slog.New(slog.DiscardHandler))
	asks.port = port
	return asks, to
}

func TestPing(t *testing.T) {
	t.Parallel()
	for address, from := range map[string]string{"127.0.0.7": "127.0.0.1", "::1": "::1"} {
		asks, to := pair(t, address, from)
		var replies []wire.PingReply
		sum, err := asks.Ping(t.Context(), to, 1420, 3, func(r wire.PingReply) { replies = append(replies, r) })
		if err != nil {
			t.Fatal(err)
		}
		if len(replies) != 3 || sum.Sent != 3 || sum.Received != 3 || sum.Loss != 0 || sum.PathMTU != 1420 {
			t.Errorf("%s: %+v of %d replies", address, sum, len(replies))
		}
		if sum.Min <= 0 || sum.Min > sum.Mean || sum.Mean > sum.Max || sum.Max > 1 {
			t.Errorf("%s: round trips %v ≤ %v ≤ %v", address, sum.Min, sum.Mean, sum.Max)
		}
		for i, r := range replies {
			if r.Seq != i+1 || r.Lost || r.RTT <= 0 {
				t.Errorf("%s: reply %+v", address, r)
			}
		}
	}
}

// TestStrangersGetNoAnswer: only known peers do.
func TestStrangersGetNoAnswer(t *testing.T) {
	t.Parallel()
	asks, to := pair(t, "127.0.0.7", "127.0.0.9")
	sum, err := asks.Ping(t.Context(), to, 1420, 1, func(wire.PingReply) {})
	if err != nil || sum.Received != 0 || sum.Loss != 1 || sum.PathMTU != 0 {
		t.Errorf("a stranger got %+v, %v", sum, err)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	asks, to := pair(t, "127.0.0.7", "127.0.0.1")
	asks.port++
	began := time.Now()
	sum, err := asks.Ping(t.Context(), to, 1420, 2, func(r wire.PingReply) {
		if !r.Lost {
			t.Errorf("reply %+v", r)
		}
	})
	if err != nil || sum.Sent != 2 || sum.Received != 0 {
		t.Errorf("%+v, %v", sum, err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestAnswerFollowsTheAddresses(t *testing.T) {
	t.Parallel()
	asks, to := pair(t, "127.0.0.7", "127.0.0.1")
	answers := New(slog.New(slog.DiscardHandler))
	answers.port = asks.port
	defer answers.Close()
	other := netip.MustParseAddr("127.0.0.8")
	received := func(to netip.Addr) int {
		sum, err := asks.Ping(t.Context(), to, 1420, 1, func(wire.PingReply) {})
		if err != nil {
			t.Fatal(err)
		}
		return sum.Received
	}
	me := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	answers.Answer([]netip.Addr{to, other}, me) // the first is taken by the other prober, and stays so
	if received(other) != 1 || received(to) != 1 {
		t.Error("one of the addresses does not answer")
	}
	answers.Answer(nil, nil)
	if received(other) != 0 {
		t.Error("an address that is gone answers")
	}
}

// TestNudge: one question comes, from an address that answers, and its answer is not answered.
func TestNudge(t *testing.T) {
	t.Parallel()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 8)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	asks := New(slog.New(slog.DiscardHandler))
	asks.port = uint16(socket.LocalAddr().(*net.UDPAddr).Port)
	defer asks.Close()
	to := netip.MustParseAddr("127.0.0.8")
	asks.Nudge(to) // from nowhere yet: nothing happens
	asks.Answer([]netip.Addr{netip.MustParseAddr("127.0.0.9")}, []netip.Addr{to})
	asks.Nudge(to)
	buf := make([]byte, 2048)
	n, from, err := socket.ReadFromUDPAddrPort(buf)
	if err != nil || from.Addr().String() != "127.0.0.9" || Reply(buf[:n]) == nil {
		t.Fatalf("%d bytes from %v, %v", n, from, err)
	}
	if _, err := socket.WriteToUDPAddrPort(Reply(buf[:n]), from); err != nil {
		t.Fatal(err)
	}
	asks.Nudge(to)
	if n, _, err := socket.ReadFromUDPAddrPort(buf); err != nil || Reply(buf[:n]) == nil {
		t.Errorf("after the answer comes %x, %v; want the next question", buf[:n], err)
	}
}

// TestPathMTU: somebody on the way drops what is larger than 1300 bytes.
func TestPathMTU(t *testing.T) {
	t.Parallel()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 7)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := socket.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if n+headerIPv4 <= 1300 {
				_, _ = socket.WriteToUDPAddrPort(Reply(buf[:n]), from)
			}
		}
	}()
	asks := New(slog.New(slog.DiscardHandler))
	asks.port = uint16(socket.LocalAddr().(*net.UDPAddr).Port)
	sum, err := asks.Ping(t.Context(), netip.MustParseAddr("127.0.0.7"), 1420, 1, func(wire.PingReply) {})
	if err != nil || sum.PathMTU > 1300 || sum.PathMTU <= 1300-sizeStep-1 {
		t.Errorf("found %d, %v; want 1300", sum.PathMTU, err)
	}
}

func TestPingCanBeStopped(t *testing.T) {
	t.Parallel()
	asks, to := pair(t, "127.0.0.7", "127.0.0.1")
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	sum, err := asks.Ping(ctx, to, 1420, 1000, func(wire.PingReply) { cancel() })
	if err != nil || sum.Sent > 2 || time.Since(began) > 5*time.Second {
		t.Errorf("%+v, %v after %v", sum, err, time.Since(began))
	}
}

// TestNoAmplification: an answer is never longer than its question, and never answered.
func TestNoAmplification(t *testing.T) {
	check := func(seq uint16, nonce uint64, more uint8) bool {
		p := packet{seq: seq, nonce: nonce}
		ask := p.ask(minAsk + int(more))
		reply := Reply(ask)
		got, kind, ok := parse(reply)
		return len(ask) == minAsk+int(more) && len(reply) < len(ask) && ok && kind == kindReply && got == p && Reply(reply) == nil
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

// FuzzPacket: whatever arrives is answered shorter or not at all.
func FuzzPacket(f *testing.F) {
	f.Add(packet{seq: 1, nonce: 2}.ask(minAsk))
	f.Add(packet{}.ask(1392))
	f.Add([]byte("WRNP"))
	f.Fuzz(func(t *testing.T, b []byte) {
		reply := Reply(b)
		if len(reply) > len(b) || reply != nil && Reply(reply) != nil {
			t.Fatalf("%d bytes are answered with %d", len(b), len(reply))
		}
		if reply != nil && !bytes.Equal(b[6:16], reply[6:16]) {
			t.Fatal("the answer is to another question")
		}
	})
}
