package hand

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// FloodContent is what the packets of a flood hold, in plain text.
const FloodContent = "order data of a flood"

// floodEvery is the pause between two packets to one address.
const floodEvery = 5 * time.Millisecond

// A Flooded is what has become of packets that a guest sent to addresses of the mesh since it started.
type Flooded struct {
	Sent   int // taken by the kernel, whatever became of them
	Denied int // by a rule of the firewall
	NoWay  int // there was no route, or one that refuses
	Late   int // of all these, those since the network came up
}

// A flood sends for as long as the guest runs.
type flood struct {
	mu  sync.Mutex
	now Flooded
}

func (f *flood) told() Flooded {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// send sends to an address and counts; up tells whether there is a network.
func (f *flood) send(to netip.AddrPort, up func() bool) {
	tick := time.NewTicker(floodEvery)
	defer tick.Stop()
	var conn *net.UDPConn
	for range tick.C {
		var err error
		if conn == nil {
			conn, err = net.ListenUDP("udp", nil)
		}
		if err == nil {
			_, err = conn.WriteToUDPAddrPort([]byte(FloodContent), to)
		}
		f.count(err, up())
	}
}

func (f *flood) count(err error, up bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		f.now.Sent++
	case errors.Is(err, unix.EPERM):
		f.now.Denied++
	default:
		f.now.NoWay++
	}
	if up {
		f.now.Late++
	}
}

// Flooded tells how the flood of this boot goes.
func (s *Server) Flooded(_ Nothing, out *Flooded) error {
	*out = s.flood.told()
	return nil
}
