package load

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Datagrams are numbered packets at a steady rate on some paths, in both directions of each.
type Datagrams struct {
	sockets []*socket
	stop    chan struct{}
	sending sync.WaitGroup
}

// A socket is one end of paths: it sends to all others and hears from them.
type socket struct {
	conn *net.UDPConn
	at   netip.AddrPort
	to   []*direction // in which this end sends

	mu   sync.Mutex
	from map[netip.AddrPort]*direction // in which this end receives
}

// A direction is what went one way on a path. The sender owns sent, until it has stopped; the rest is the receiver's.
type direction struct {
	path Path
	to   netip.AddrPort
	sent uint64

	arrived []uint64 // one bit for each number
	unique  int
	last    time.Time // when the last one arrived
	left    time.Time // when that one was sent
	gap     time.Duration
	gapAt   time.Time
	paused  time.Duration // by the sender, in that gap
	slowest time.Duration
}

// A Count is what became of the datagrams in one direction of a path.
type Count struct {
	Path       string
	Sent, Lost int
	LongestGap time.Duration // between two arrivals
	GapAt      time.Time     // when it ended
	Paused     time.Duration // how much later than the packet before the gap the one after it was sent
	Slowest    time.Duration // from when a packet was sent to when the receiver's kernel had it
	Missing    []int         // the first few numbers that did not arrive
}

// datagramSize is the size of a short packet's payload.
const datagramSize = 64

// StartDatagrams sends that many datagrams per second on each path and in each direction, until Stop.
func StartDatagrams(paths []Path, perSecond int) (*Datagrams, error) {
	d := &Datagrams{stop: make(chan struct{})}
	byAddr := map[netip.Addr]*socket{}
	for _, p := range paths {
		for _, e := range []End{p.From, p.To} {
			if byAddr[e.Addr] != nil {
				continue
			}
			conn, err := e.listenUDP()
			if err != nil {
				return nil, errors.Join(err, d.close())
			}
			s := &socket{conn: conn, at: conn.LocalAddr().(*net.UDPAddr).AddrPort(), from: map[netip.AddrPort]*direction{}}
			byAddr[e.Addr] = s
			d.sockets = append(d.sockets, s)
		}
		connect(byAddr[p.From.Addr], byAddr[p.To.Addr], p)
		connect(byAddr[p.To.Addr], byAddr[p.From.Addr], Path{p.To, p.From})
	}
	// A thread that has to wait for the machine keeps what the scheduler of Go has given it.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), runtime.NumCPU()+2*len(d.sockets)))
	for _, s := range d.sockets {
		go s.receive()
		d.sending.Go(func() { s.send(perSecond, d.stop) })
	}
	return d, nil
}

func connect(from, to *socket, p Path) {
	one := &direction{path: p, to: to.at}
	from.to = append(from.to, one)
	to.from[from.at] = one
}

// catchUp is how many packets to one receiver go out at a time when the sender was held up. All of them at once would be
// more than the queue of an interface holds, and lost before any tunnel has seen them.
const catchUp = 4

// promptly gives the calling goroutine a thread that comes before all others of this machine, where that is allowed: a
// sender that waits for a processor says nothing about the network. Threads that it starts are like any other. Where there
// is one processor only, the kernel would hold back such threads for the sake of the others, for over a second.
func promptly() {
	if runtime.NumCPU() == 1 {
		return
	}
	runtime.LockOSThread() // and not back: the thread ends with the goroutine
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Flags: unix.SCHED_FLAG_RESET_ON_FORK, Priority: 1,
	}, 0)
}

// send sends to everybody at once, as many times as are due. It sleeps in the kernel, as Go's own timers are looked at by
// threads that have to wait for a processor.
func (s *socket) send(perSecond int, stop <-chan struct{}) {
	promptly()
	pause := unix.NsecToTimespec(int64(time.Second) / int64(perSecond))
	packet := make([]byte, datagramSize)
	start, done := time.Now(), 0
	for {
		select {
		case <-stop:
			return
		default:
			_ = unix.Nanosleep(&pause, nil) // a signal makes it shorter
		}
		due := int(time.Since(start).Seconds() * float64(perSecond))
		for due = min(due, done+catchUp); done < due; done++ {
			for _, one := range s.to {
				binary.BigEndian.PutUint64(packet, one.sent)
				binary.BigEndian.PutUint64(packet[8:], uint64(time.Now().UnixNano()))
				one.sent++
				_, _ = s.conn.WriteToUDPAddrPort(packet, one.to) // what is not sent does not arrive, which is counted
			}
		}
	}
}

func (s *socket) receive() {
	buf, beside := make([]byte, 2*datagramSize), make([]byte, 128)
	for {
		n, oob, _, from, err := s.conn.ReadMsgUDPAddrPort(buf, beside)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n != datagramSize {
			continue
		}
		s.mu.Lock()
		if one := s.from[from]; one != nil {
			one.note(binary.BigEndian.Uint64(buf), time.Unix(0, int64(binary.BigEndian.Uint64(buf[8:]))), arrival(beside[:oob]))
		}
		s.mu.Unlock()
	}
}

// arrival is when the kernel had a packet, which is not when somebody read it: a busy machine's reader comes late.
func arrival(beside []byte) time.Time {
	all, err := unix.ParseSocketControlMessage(beside)
	for i := range all {
		if h := all[i].Header; err == nil && h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS && len(all[i].Data) >= 16 {
			d := all[i].Data
			return time.Unix(int64(binary.NativeEndian.Uint64(d)), int64(binary.NativeEndian.Uint64(d[8:])))
		}
	}
	return time.Now()
}

func (d *direction) note(number uint64, left, now time.Time) {
	word, bit := number/64, uint64(1)<<(number%64)
	for uint64(len(d.arrived)) <= word {
		d.arrived = append(d.arrived, 0)
	}
	if d.arrived[word]&bit != 0 {
		return // a network may repeat a packet
	}
	d.arrived[word] |= bit
	d.unique++
	if gap := now.Sub(d.last); !d.last.IsZero() && gap > d.gap {
		d.gap, d.gapAt, d.paused = gap, now, left.Sub(d.left)
	}
	d.last, d.left = now, left
	d.slowest = max(d.slowest, now.Sub(left))
}

// underWay is how long packets that were sent last may take.
const underWay = 3 * time.Second

// Stop ends the sending, waits for what is under way, and counts.
func (d *Datagrams) Stop() ([]Count, error) {
	close(d.stop)
	d.sending.Wait()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(underWay); time.Now().Before(deadline) && d.missing() > 0; {
		<-poll.C
	}
	var out []Count
	for _, s := range d.sockets {
		s.mu.Lock()
		for _, one := range s.from {
			out = append(out, one.count())
		}
		s.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b Count) int { return b.Lost - a.Lost })
	return out, d.close()
}

// missing is how many have not arrived; the senders must have stopped.
func (d *Datagrams) missing() (n int) {
	for _, s := range d.sockets {
		s.mu.Lock()
		for _, one := range s.from {
			n += int(one.sent) - one.unique
		}
		s.mu.Unlock()
	}
	return n
}

// Arrived is how many datagrams have arrived so far.
func (d *Datagrams) Arrived() (n int) {
	for _, s := range d.sockets {
		s.mu.Lock()
		for _, one := range s.from {
			n += one.unique
		}
		s.mu.Unlock()
	}
	return n
}

// maxMissing bounds what a count shows.
const maxMissing = 20

func (d *direction) count() Count {
	c := Count{
		Path: d.path.String(), Sent: int(d.sent), Lost: int(d.sent) - d.unique, LongestGap: d.gap, GapAt: d.gapAt,
		Paused: d.paused, Slowest: d.slowest,
	}
	for n := uint64(0); n < d.sent && len(c.Missing) < min(c.Lost, maxMissing); n++ {
		if word := n / 64; word >= uint64(len(d.arrived)) || d.arrived[word]&(1<<(n%64)) == 0 {
			c.Missing = append(c.Missing, int(n))
		}
	}
	return c
}

func (d *Datagrams) close() error {
	var failed []error
	for _, s := range d.sockets {
		failed = append(failed, s.conn.Close())
	}
	return errors.Join(failed...)
}

// Total adds up counts: the longest gap is the longest of all.
func Total(counts []Count) Count {
	var t Count
	for _, c := range counts {
		t.Sent += c.Sent
		t.Lost += c.Lost
		if c.LongestGap > t.LongestGap {
			t.LongestGap, t.GapAt, t.Path, t.Paused = c.LongestGap, c.GapAt, c.Path, c.Paused
		}
		t.Slowest = max(t.Slowest, c.Slowest)
	}
	return t
}
