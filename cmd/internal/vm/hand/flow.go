package hand

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Straggling is how long a flow that has ended waits for what is still under way.
const Straggling = 3 * time.Second

// FlowSpec is a flow to begin.
type FlowSpec struct {
	Name      string
	To        netip.AddrPort // where somebody echoes
	PerSecond int
}

// Flow is how a flow goes, or went.
type Flow struct {
	Sent, Answered int
	Gap            time.Duration // the longest time between two answers
}

// Lost is how many packets got no answer.
func (f Flow) Lost() int { return f.Sent - f.Answered }

// Echo sends back what comes to an address of the guest, until the guest ends.
func (s *Server) Echo(at netip.AddrPort, _ *Nothing) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.echos[at] {
		return nil
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	s.echos[at] = true
	go func() {
		buf := make([]byte, 64)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err == nil {
				_, _ = conn.WriteToUDPAddrPort(buf[:n], from) // a lost answer is counted as one
			}
		}
	}()
	return nil
}

// Begin starts a flow of numbered packets.
func (s *Server) Begin(spec FlowSpec, _ *Nothing) error {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(spec.To))
	if err != nil {
		return err
	}
	f := &flow{conn: conn, stop: make(chan struct{}), sent: make(chan int, 1), back: map[uint64]time.Time{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flows[spec.Name] != nil {
		_ = conn.Close()
		return fmt.Errorf("there is a flow %s already", spec.Name)
	}
	s.flows[spec.Name] = f
	go f.collect()
	go f.send(time.Second / time.Duration(spec.PerSecond))
	return nil
}

// Look tells how a flow goes.
func (s *Server) Look(name string, out *Flow) error {
	f, err := s.flow(name)
	if err != nil {
		return err
	}
	*out = f.told()
	return nil
}

// End stops a flow, waits for what is under way, and tells how it went.
func (s *Server) End(name string, out *Flow) error {
	f, err := s.flow(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.flows, name)
	s.mu.Unlock()
	close(f.stop)
	sent := <-f.sent
	for end := time.Now().Add(Straggling); f.told().Answered < sent && time.Now().Before(end); {
		<-time.After(10 * time.Millisecond)
	}
	*out = f.told()
	return f.conn.Close()
}

func (s *Server) flow(name string) (*flow, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flows[name]
	if f == nil {
		return nil, fmt.Errorf("there is no flow %s", name)
	}
	return f, nil
}

// A flow is one that runs.
type flow struct {
	conn *net.UDPConn
	stop chan struct{}
	sent chan int

	mu    sync.Mutex
	count int
	back  map[uint64]time.Time
}

func (f *flow) send(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-f.stop:
			f.sent <- n
			return
		case <-tick.C:
			f.mu.Lock()
			f.count = n + 1
			f.mu.Unlock()
			_, _ = f.conn.Write(binary.BigEndian.AppendUint64(nil, uint64(n))) // counted by its answer
		}
	}
}

func (f *flow) collect() {
	buf := make([]byte, 64)
	for {
		n, err := f.conn.Read(buf)
		if n == 0 && err != nil && f.ended() {
			return
		}
		if err == nil && n == 8 {
			f.mu.Lock()
			f.back[binary.BigEndian.Uint64(buf)] = time.Now()
			f.mu.Unlock()
		}
	}
}

// ended tells a closed flow from an ICMP error, which a socket tells as an error of reading.
func (f *flow) ended() bool {
	select {
	case <-f.stop:
		return true
	default:
		return false
	}
}

func (f *flow) told() Flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	times := make([]time.Time, 0, len(f.back))
	for _, at := range f.back {
		times = append(times, at)
	}
	slices.SortFunc(times, time.Time.Compare)
	out := Flow{Sent: f.count, Answered: len(f.back)}
	for i := 1; i < len(times); i++ {
		out.Gap = max(out.Gap, times[i].Sub(times[i-1]))
	}
	return out
}
