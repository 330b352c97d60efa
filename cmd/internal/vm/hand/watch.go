package hand

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// WatchSpec says which packets of a link to count.
type WatchSpec struct {
	Link    string
	Content string // in plain text, anywhere in the packet
}

// Watched is what a link has carried since the watch began.
type Watched struct {
	Packets, Found int
	First          string // the beginning of the first one found, in hexadecimal digits
	Missed         uint32 // packets that the kernel could not hand over: with any, nothing is proven
}

// A watch sees each packet of a link, whomever it is for.
type watch struct {
	fd      int
	content []byte

	mu  sync.Mutex
	now Watched
}

// watchBuffer holds what comes while the guest has other things to do.
const watchBuffer = 16 << 20

// watchFirst is how many bytes of a packet tell whose it is.
const watchFirst = 64

// Watch begins to count, anew where it was counting already.
func (s *Server) Watch(spec WatchSpec, _ *Nothing) error {
	w, err := openWatch(spec)
	if err != nil {
		return fmt.Errorf("watch %s: %w", spec.Link, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch = w
	go w.run()
	return nil
}

// Watched tells what was seen up to now.
func (s *Server) Watched(_ Nothing, out *Watched) error {
	s.mu.Lock()
	w := s.watch
	s.mu.Unlock()
	if w == nil {
		return errors.New("nothing is watched")
	}
	stats, err := unix.GetsockoptTpacketStats(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now.Missed += stats.Drops // the kernel counts from the last question on
	*out = w.now
	return nil
}

func openWatch(spec WatchSpec) (*watch, error) {
	link, err := net.InterfaceByName(spec.Link)
	if err != nil {
		return nil, err
	}
	all := uint16(unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all))
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, watchBuffer),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Index}),
		unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(link.Index), Type: unix.PACKET_MR_PROMISC}))
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &watch{fd: fd, content: []byte(spec.Content)}, nil
}

func (w *watch) run() {
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(w.fd, buf, 0)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENETDOWN) {
			continue
		}
		if err != nil {
			return
		}
		w.mu.Lock()
		w.now.Packets++
		if bytes.Contains(buf[:n], w.content) {
			if w.now.Found++; w.now.First == "" {
				w.now.First = hex.EncodeToString(buf[:min(n, watchFirst)])
			}
		}
		w.mu.Unlock()
	}
}
