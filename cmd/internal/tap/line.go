package tap

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"
)

const defaultBuffer = 8 << 20

// A line is the tap on one link.
type line struct {
	link  *net.Interface
	ring  *ring
	watch *watch

	carried uint64        // packets that the link had carried when the capture began
	seen    atomic.Uint64 // packets that were judged
	more    chan struct{} // told when seen has grown
	err     error         // of run
}

// An end is what a line must have seen when the capture is over.
type end struct {
	carried uint64 // packets that the link has carried meanwhile, by its own count
	handed  uint64 // packets that the kernel has put into the ring
	dropped uint64 // packets that it found no room for
}

func openLine(name string, o Options) (*line, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	ring, err := openRing(blockSize, max(2, cmp.Or(o.Buffer, defaultBuffer)/blockSize))
	if err != nil {
		return nil, err
	}
	const headers = 20 + 8 // the shortest that are around the payload of a datagram
	r := rules{wireguard: o.WireGuard, controller: o.Controller, longest: link.MTU - headers}
	return &line{
		link: link, ring: ring, watch: newWatch(name, r, needlesOf(o.Content)), more: make(chan struct{}, 1),
	}, nil
}

// begin starts the capture. First attached, then counted: whatever the link carries after this number, the tap has to
// have seen.
func (l *line) begin(c counters) (err error) {
	if err := l.ring.attach(l.link); err != nil {
		return err
	}
	l.carried, err = c.packets(l.link.Name)
	return err
}

// run judges packets until the ring is interrupted and empty.
func (l *line) run() {
	for {
		if err := l.ring.wait(); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				l.err = fmt.Errorf("reading packets of link %s: %v", l.link.Name, err)
			}
			return
		}
		for frame := range l.ring.frames() {
			l.watch.take(frame)
		}
		l.ring.release()
		l.seen.Store(l.watch.frames)
		select {
		case l.more <- struct{}{}:
		default: // it has been told and has not looked yet
		}
	}
}

// end takes the numbers at the end of the capture.
func (l *line) end(c counters) (end, error) {
	carried, err := c.packets(l.link.Name)
	if err != nil {
		return end{}, err
	}
	if still, err := l.ring.attached(l.link); err != nil || !still {
		return end{}, errors.Join(err, fmt.Errorf("link %s was taken away while it was tapped", l.link.Name))
	}
	packets, dropped, err := l.ring.statistics()
	if err != nil {
		return end{}, fmt.Errorf("reading the capture statistics of link %s: %v", l.link.Name, err)
	}
	return end{carried: carried - l.carried, handed: packets - dropped, dropped: dropped}, nil
}

// await returns when the line has seen all that it must have seen, or nothing more has come for a while: the kernel
// hands over what it has after retireAfter.
func (l *line) await(e end) {
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	for seen := l.seen.Load(); seen < e.handed || seen+e.dropped < e.carried; seen = l.seen.Load() {
		select {
		case <-l.more:
			patience.Reset(time.Second)
		case <-patience.C:
			return
		}
	}
}

// finish reports what the line has seen, and holds it against what it must have seen.
func (l *line) finish(e end) (LinkReport, error) {
	r := l.watch.finish()
	_, late, err := l.ring.statistics()
	r.Lost = e.dropped + late
	if known := l.watch.frames + r.Lost; e.carried > known {
		r.Lost += e.carried - known
	}
	if r.Lost+r.Truncated+r.Overflow > 0 {
		err = errors.Join(err, fmt.Errorf("link %s: %w: %d lost, %d not seen whole, %d searched alone, of %d",
			l.link.Name, ErrLost, r.Lost, r.Truncated, r.Overflow, l.watch.frames+r.Lost))
	}
	return r, errors.Join(l.err, err)
}
