package tap

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
)

// Options say what to capture, and what belongs there.
type Options struct {
	Links      []string         // all must be there, and stay
	WireGuard  []uint16         // ports of the tunnels' outer packets, at both ends
	Controller []netip.AddrPort // where the control channel leads to
	Content    []string         // texts that no packet may hold
	Buffer     int              // bytes of capture for each link; 8 MiB if 0
}

// ErrLost is what Close returns, wrapped, when the tap has not seen all of every packet.
var ErrLost = errors.New("the tap missed packets, so its counts prove nothing")

// A Tap captures packets until it is closed.
type Tap struct {
	counters counters
	lines    []*line
	running  sync.WaitGroup
}

// Open begins to capture. It sees the links of the calling thread's network namespace.
func Open(o Options) (*Tap, error) {
	counters, err := openCounters()
	if err != nil {
		return nil, fmt.Errorf("opening the links' counters: %v", err)
	}
	t := &Tap{counters: counters}
	for _, name := range o.Links {
		l, err := openLine(name, o)
		if err == nil {
			t.lines = append(t.lines, l)
			err = l.begin(counters)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("tapping link %s: %v", name, err), t.free())
		}
	}
	for _, l := range t.lines {
		t.running.Go(l.run)
	}
	return t, nil
}

// Close ends the capture and reports what was seen up to now. The report is there also with an error, which is
// ErrLost if there was more to see.
func (t *Tap) Close() (Report, error) {
	var report Report
	var problems []error
	ends := make([]end, len(t.lines))
	for i, l := range t.lines {
		var err error
		ends[i], err = l.end(t.counters)
		problems = append(problems, err)
	}
	for i, l := range t.lines {
		l.await(ends[i])
	}
	problems = append(problems, t.stop())
	for i, l := range t.lines {
		r, err := l.finish(ends[i])
		report.Links = append(report.Links, r)
		problems = append(problems, err)
	}
	return report, errors.Join(append(problems, t.free())...)
}

// stop ends the capture and waits for the goroutines.
func (t *Tap) stop() error {
	var problems []error
	for _, l := range t.lines {
		problems = append(problems, l.ring.interrupt())
	}
	t.running.Wait()
	return errors.Join(problems...)
}

// free gives everything back; nothing may run any more.
func (t *Tap) free() error {
	problems := []error{t.counters.file.Close()}
	for _, l := range t.lines {
		problems = append(problems, l.ring.close())
	}
	return errors.Join(problems...)
}
