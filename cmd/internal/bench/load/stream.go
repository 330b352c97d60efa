package load

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Stream is one TCP connection that carries bytes at a steady rate for as long as it lasts.
type Stream struct {
	conn     *net.TCPConn
	listener net.Listener
	stop     chan struct{}
	running  sync.WaitGroup

	mu       sync.Mutex
	received int64
	failed   []error
}

// A StreamCount is what became of a stream.
type StreamCount struct {
	Received      int64
	Retransmitted int   // segments that the sender sent again
	Failed        error // nil where the connection lived to the end: no reset, no time-out
}

// streamTick is how often a stream writes.
const streamTick = 10 * time.Millisecond

// StartStream opens a connection and writes so many bytes per second, until Stop.
func StartStream(p Path, perSecond int) (*Stream, error) {
	l, err := p.To.listenTCP()
	if err != nil {
		return nil, fmt.Errorf("stream from %v: %v", p, err)
	}
	s := &Stream{listener: l, stop: make(chan struct{})}
	s.running.Go(s.read)
	conn, err := p.From.dialTCP(l.Addr().String())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stream from %v: %v", p, err), l.Close())
	}
	s.conn = conn.(*net.TCPConn)
	s.running.Go(func() { s.write(perSecond) })
	return s, nil
}

func (s *Stream) read() {
	conn, err := s.listener.Accept()
	if err != nil {
		return // Stop tells of a stream that never began
	}
	defer conn.Close()
	buf := make([]byte, 256<<10)
	for {
		n, err := conn.Read(buf)
		s.mu.Lock()
		s.received += int64(n)
		if err != nil && !errors.Is(err, io.EOF) {
			s.failed = append(s.failed, fmt.Errorf("read: %v", err))
		}
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *Stream) write(perSecond int) {
	tick := time.NewTicker(streamTick)
	defer tick.Stop()
	chunk := make([]byte, max(1, perSecond/int(time.Second/streamTick)))
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		if _, err := s.conn.Write(chunk); err != nil {
			s.mu.Lock()
			s.failed = append(s.failed, fmt.Errorf("write: %v", err))
			s.mu.Unlock()
			return
		}
	}
}

// Retransmitted is how many segments were sent again so far.
func (s *Stream) Retransmitted() (int, error) {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var info *unix.TCPInfo
	var failed error
	if err := raw.Control(func(fd uintptr) {
		info, failed = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); err != nil || failed != nil {
		return 0, errors.Join(err, failed)
	}
	return int(info.Total_retrans), nil
}

// Stop ends the stream in order and counts.
func (s *Stream) Stop() StreamCount {
	close(s.stop)
	again, err := s.Retransmitted()
	_ = s.conn.CloseWrite() // on a broken connection: how it broke is known
	s.running.Wait()
	_ = s.conn.Close()
	_ = s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	return StreamCount{Received: s.received, Retransmitted: again, Failed: errors.Join(append(s.failed, err)...)}
}
