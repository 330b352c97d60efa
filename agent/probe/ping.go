package probe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers/wire"
)

// Times and sizes of asking.
const (
	pingEvery  = 250 * time.Millisecond
	pingWait   = time.Second
	sizeWait   = 100 * time.Millisecond // at least, for a packet of a certain size
	sizeTries  = 3
	sizeStep   = 4 // how exact the path MTU is, in bytes
	headerIPv4 = 20 + 8
	headerIPv6 = 40 + 8
)

// An asker asks one address.
type asker struct {
	conn   net.Conn
	nonce  uint64
	seq    uint16
	header int
	buf    [64]byte
}

// Ping asks the agent behind an overlay address count times, tells each answer or its absence, and looks for
// the largest packet up to mtu that arrives. The error is that of having no way to ask.
func (p *Prober) Ping(ctx context.Context, to netip.Addr, mtu, count int, each func(wire.PingReply)) (wire.PingSummary, error) {
	a, err := p.dial(ctx, to)
	if err != nil {
		return wire.PingSummary{}, err
	}
	defer a.conn.Close()
	defer context.AfterFunc(ctx, func() { _ = a.conn.SetDeadline(time.Unix(1, 0)) })()
	sum := wire.PingSummary{Address: to}
	var times []float64
	for i := range count {
		began := time.Now()
		rtt, err := a.once(ctx, minAsk, pingWait)
		if ctx.Err() != nil {
			break
		}
		sum.Sent++
		reply := wire.PingReply{Seq: i + 1, Lost: err != nil, RTT: rtt.Seconds()}
		if err == nil {
			times = append(times, reply.RTT)
		}
		each(reply)
		if i < count-1 {
			rest(ctx, pingEvery-time.Since(began))
		}
	}
	sum.Received = len(times)
	if sum.Sent > 0 {
		sum.Loss = 1 - float64(sum.Received)/float64(sum.Sent)
	}
	if len(times) > 0 {
		sum.Min, sum.Max, sum.Mean = slices.Min(times), slices.Max(times), mean(times)
		sum.PathMTU = a.pathMTU(ctx, mtu, time.Duration(sum.Max*float64(time.Second)))
	}
	return sum, nil
}

func mean(times []float64) float64 {
	total := 0.0
	for _, t := range times {
		total += t
	}
	return total / float64(len(times))
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(max(0, d)):
	}
}

// dial opens a socket whose packets are never fragmented.
func (p *Prober) dial(ctx context.Context, to netip.Addr) (*asker, error) {
	a := &asker{nonce: rand.Uint64(), header: headerIPv4}
	if to.Is6() {
		a.header = headerIPv6
	}
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var inner error
		err := raw.Control(func(fd uintptr) { inner = dontFragment(int(fd), to.Is6()) })
		return errors.Join(err, inner)
	}}
	conn, err := d.DialContext(ctx, "udp", netip.AddrPortFrom(to, p.port).String())
	if err != nil {
		return nil, fmt.Errorf("ask %v: %w", to, err)
	}
	a.conn = conn
	return a, nil
}

// dontFragment sets the bit, and makes the kernel take no notice of a path MTU that it remembers.
func dontFragment(fd int, ipv6 bool) error {
	if ipv6 {
		return errors.Join(
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1))
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
}

// once sends a question of a length and waits for its answer.
func (a *asker) once(ctx context.Context, length int, wait time.Duration) (time.Duration, error) {
	a.seq++
	began := time.Now()
	if err := a.conn.SetReadDeadline(began.Add(wait)); err != nil {
		return 0, err
	}
	if _, err := a.conn.Write(packet{seq: a.seq, nonce: a.nonce}.ask(length)); err != nil {
		if refused(err) {
			rest(ctx, wait)
		}
		return 0, err
	}
	for ctx.Err() == nil {
		n, err := a.conn.Read(a.buf[:])
		if refused(err) && time.Since(began) < wait {
			continue // that was for an earlier question
		}
		if err != nil {
			return 0, err
		}
		got, kind, ok := parse(a.buf[:n])
		if ok && kind == kindReply && got.seq == a.seq && got.nonce == a.nonce {
			return time.Since(began), nil
		}
	}
	return 0, ctx.Err()
}

// refused tells that the other end has nobody who answers, at the moment.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// pathMTU looks for the largest packet that arrives, by halving what is unknown; 0 where none does.
func (a *asker) pathMTU(ctx context.Context, mtu int, slowest time.Duration) int {
	wait := min(max(4*slowest, sizeWait), pingWait)
	arrives := func(size int) bool {
		for range sizeTries {
			_, err := a.once(ctx, size-a.header, wait)
			if err == nil {
				return true
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) && !refused(err) {
				return false // larger than the interface takes
			}
		}
		return false
	}
	if arrives(mtu) {
		return mtu
	}
	low, high := minAsk+a.header, mtu
	for high-low > sizeStep && ctx.Err() == nil {
		if middle := (low + high) / 2; arrives(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	if ctx.Err() != nil {
		return 0
	}
	return low
}
