package tap

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// pair is a lab of two hosts, between which this process can carry things.
func pair(t *testing.T) (from, to *lab.Host) {
	t.Helper()
	l := labtest.New(t, lab.Topology{Hosts: []lab.HostSpec{{Name: "shop"}, {Name: "warehouse"}}})
	return l.Host("shop"), l.Host("warehouse")
}

func open(t *testing.T) *Tap {
	t.Helper()
	tap, err := Open(Options{
		Links: []string{"shop", "warehouse"}, WireGuard: []uint16{51820, 51821}, Content: []string{marker},
	})
	if err != nil {
		t.Fatal(err)
	}
	return tap
}

func closed(t *testing.T, tap *Tap) Report {
	t.Helper()
	report, err := tap.Close()
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// on calls f on a host.
func on(t *testing.T, h *lab.Host, f func() error) {
	t.Helper()
	if err := h.Do(f); err != nil {
		t.Fatal(err)
	}
}

// socket binds a datagram socket on a host.
func socket(t *testing.T, h *lab.Host, port uint16) (conn *net.UDPConn) {
	t.Helper()
	on(t, h, func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.IPv4(), port)))
		return err
	})
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// connect makes a TCP connection from one host to the other.
func connect(t *testing.T, from, to *lab.Host) (client, server net.Conn) {
	t.Helper()
	var listener net.Listener
	on(t, to, func() (err error) {
		listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", netip.AddrPortFrom(to.IPv4(), 8080).String())
		return err
	})
	on(t, from, func() (err error) {
		client, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
		return err
	})
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
		_ = listener.Close()
	})
	return client, server
}

func TestCountsOnEveryLink(t *testing.T) {
	from, to := pair(t)
	a, b := socket(t, from, 51820), socket(t, to, 51821)
	tap := open(t)
	const n = 500
	exchange(t, a, b, message(1, 148))
	exchange(t, b, a, message(2, 92))
	for range n {
		exchange(t, a, b, message(4, 160))
	}
	report := closed(t, tap)
	for _, link := range report.Links {
		got := link.Packets
		if got.Handshake != 2 || got.Data != n || got.Control != 0 || got.Other != 0 || link.Content != 0 {
			t.Errorf("%+v", link)
		}
		if link.Housekeeping["ARP"] == 0 || link.Bytes < n*160 {
			t.Errorf("%+v", link)
		}
	}
	if total := report.Total(); total.Packets.Data != 2*n || len(report.Links) != 2 {
		t.Errorf("%+v", total)
	}
}

// exchange sends a datagram and waits until it has arrived.
func exchange(t *testing.T, from, to *net.UDPConn, payload []byte) {
	t.Helper()
	addr, _ := to.LocalAddr().(*net.UDPAddr)
	if _, err := from.WriteTo(payload, addr); err != nil {
		t.Fatal(err)
	}
	if err := to.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := to.Read(make([]byte, 2048)); err != nil || n != len(payload) {
		t.Fatalf("%d of %d bytes arrived: %v", n, len(payload), err)
	}
}

func TestCatchesLeakAcrossSegments(t *testing.T) {
	from, to := pair(t)
	client, server := connect(t, from, to)
	tap := open(t)
	half := len(marker) / 2
	for _, part := range []string{"order " + marker[:half], marker[half:] + " end"} {
		if _, err := io.WriteString(client, part); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(server, make([]byte, len(part))); err != nil {
			t.Fatal(err)
		}
	}
	report := closed(t, tap)
	for _, link := range report.Links {
		if link.Content != 1 || len(link.Found) != 1 || link.Packets.Other == 0 {
			t.Errorf("%+v", link)
		}
	}
	if got := report.Link("shop").Found; len(got) == 1 && (got[0].Side != "from shop" || got[0].Content != marker) {
		t.Errorf("%+v", got)
	}
}

func TestLargeSegmentsAreSeenWhole(t *testing.T) {
	from, to := pair(t)
	client, server := connect(t, from, to)
	tap := open(t)
	const size = 3 << 20
	go func() {
		text := make([]byte, size)
		copy(text[size-len(marker):], marker)
		_, _ = client.Write(text) // what is missing at the other end is seen there
	}()
	if _, err := io.ReadFull(server, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if got := closed(t, tap).Link("warehouse"); got.Content == 0 || got.Bytes < size { // TCP may have to send it twice
		t.Errorf("%+v", got)
	}
}

// TestLossIsNoticed gives a line so small a ring that it overflows before anybody looks into it.
func TestLossIsNoticed(t *testing.T) {
	from, to := pair(t)
	a, b := socket(t, from, 51820), socket(t, to, 51821)
	counters, err := openCounters()
	if err != nil {
		t.Fatal(err)
	}
	l, err := openLine("shop", Options{WireGuard: []uint16{51820, 51821}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.ring.close(); err != nil {
		t.Fatal(err)
	}
	if l.ring, err = openRing(4096, 2); err != nil {
		t.Fatal(err)
	}
	if err := l.begin(counters); err != nil {
		t.Fatal(err)
	}
	const n = 200
	for range n {
		exchange(t, a, b, message(4, 160))
	}
	tap := &Tap{counters: counters, lines: []*line{l}}
	tap.running.Go(l.run)
	report, err := tap.Close()
	if !errors.Is(err, ErrLost) {
		t.Errorf("error: %v", err)
	}
	link := report.Link("shop")
	if link.Lost == 0 || link.Lost >= n || uint64(link.Packets.All())+link.Lost < n {
		t.Errorf("%+v", link)
	}
}

// TestBlindnessIsNoticed lets the link carry packets that never reach the ring.
func TestBlindnessIsNoticed(t *testing.T) {
	from, to := pair(t)
	a, b := socket(t, from, 51820), socket(t, to, 51821)
	exchange(t, a, b, message(4, 160)) // resolves neighbours, so that nothing else is on the link
	tap := open(t)
	if err := tap.lines[0].ring.onSocket(func(fd int) error {
		nothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing})
	}); err != nil {
		t.Fatal(err)
	}
	for range 7 {
		exchange(t, a, b, message(4, 160))
	}
	report, err := tap.Close()
	if !errors.Is(err, ErrLost) || report.Link("shop").Lost < 7 || report.Link("warehouse").Lost != 0 {
		t.Errorf("%+v %v", report, err)
	}
}

// TestCutShortIsNoticed gives the ring blocks that a large packet does not fit into.
func TestCutShortIsNoticed(t *testing.T) {
	from, to := pair(t)
	client, server := connect(t, from, to)
	tap := open(t)
	small, err := openRing(4096, 256)
	if err != nil {
		t.Fatal(err)
	}
	l, err := openLine("shop", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.ring.close(); err != nil {
		t.Fatal(err)
	}
	l.ring = small
	if err := l.begin(tap.counters); err != nil {
		t.Fatal(err)
	}
	tap.lines = append(tap.lines, l)
	tap.running.Go(l.run)
	const size = 300_000
	go func() { _, _ = client.Write(make([]byte, size)) }() // the other end tells what arrived
	if _, err := io.ReadFull(server, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	report, err := tap.Close()
	if !errors.Is(err, ErrLost) || report.Links[2].Truncated == 0 {
		t.Errorf("%+v %v", report.Links[2], err)
	}
}

func TestLinksMustBeThereAndStay(t *testing.T) {
	if tap, err := Open(Options{Links: []string{"nowhere"}}); err == nil {
		t.Error("tapped a link that is not there", tap)
	}
	l := labtest.New(t, lab.Topology{Hosts: []lab.HostSpec{{Name: "shop"}, {Name: "warehouse"}}})
	tap := open(t)
	if err := l.Host("shop").Reboot(); err != nil {
		t.Fatal(err)
	}
	_, err := tap.Close()
	if err == nil || !strings.Contains(err.Error(), "link shop was taken away") {
		t.Errorf("a link has gone and come: %v", err)
	}
}
