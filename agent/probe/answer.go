package probe

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"

	"github.com/warren-mesh/warren/peers"
)

// Limits of answering, for each address.
const (
	answersPerSecond = 1000
	wordsPerSecond   = 10_000 // each host of other sites asks twice a second
	maxAsk           = 1 << 16
)

// A Prober asks and answers. The zero value is of no use: see New.
type Prober struct {
	log   *slog.Logger
	port  uint16
	known atomic.Pointer[map[netip.Addr]bool]
	word  atomic.Pointer[func(netip.Addr, peers.HostID) peers.Word]

	mu      sync.Mutex
	sockets map[netip.Addr]*net.UDPConn
	failed  map[netip.Addr]bool // said so in the log
	listed  []netip.Addr        // what known was made of
	done    sync.WaitGroup
}

// New makes a prober that answers nobody yet.
func New(log *slog.Logger) *Prober {
	return &Prober{log: log, port: Port, sockets: map[netip.Addr]*net.UDPConn{}, failed: map[netip.Addr]bool{}}
}

// Answer makes the prober answer on these addresses and no others, to these peers and nobody else. An
// address that cannot be used yet is tried again with the next call.
func (p *Prober) Answer(own, known []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known.Load() == nil || !slices.Equal(known, p.listed) {
		set := make(map[netip.Addr]bool, len(known))
		for _, a := range known {
			set[a] = true
		}
		p.known.Store(&set)
		p.listed = slices.Clone(known)
	}
	wanted := make(map[netip.Addr]bool, len(own))
	for _, a := range own {
		wanted[a] = true
		if p.sockets[a] == nil {
			p.open(a)
		}
	}
	for a, socket := range p.sockets {
		if !wanted[a] {
			_ = socket.Close()
			delete(p.sockets, a)
		}
	}
}

func (p *Prober) open(a netip.Addr) {
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, p.port)))
	if err != nil {
		if !p.failed[a] {
			p.log.Warn("warren ping of others will not be answered", "address", a, "error", err)
		}
		p.failed[a] = true
		return
	}
	delete(p.failed, a)
	p.sockets[a] = socket
	p.done.Go(func() { p.serve(socket) })
}

// Nudge sends one question to an address from an own one of the same family, and does not wait: whoever watches the
// tunnel sees that something comes back.
func (p *Prober) Nudge(to netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for own, socket := range p.sockets {
		if own.Is4() == to.Is4() {
			// What is lost is asked again.
			_, _ = socket.WriteToUDPAddrPort(packet{nonce: rand.Uint64()}.ask(minAsk), netip.AddrPortFrom(to, p.port))
			return
		}
	}
}

// Close stops answering.
func (p *Prober) Close() {
	p.Answer(nil, nil)
	p.done.Wait()
}

func (p *Prober) serve(socket *net.UDPConn) {
	limit, words := rate.NewLimiter(answersPerSecond, answersPerSecond), rate.NewLimiter(wordsPerSecond, wordsPerSecond)
	buf := make([]byte, maxAsk)
	for {
		n, from, err := socket.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier answer
		}
		known := *p.known.Load()
		if !known[from.Addr().Unmap()] {
			continue
		}
		var reply []byte
		if isWatch(buf[:n]) {
			if words.Allow() {
				reply = p.wordTo(from.Addr().Unmap(), buf[:n])
			}
		} else if limit.Allow() {
			reply = Reply(buf[:n])
		}
		if reply != nil {
			// Who asked notices by itself that no answer comes.
			_, _ = socket.WriteToUDPAddrPort(reply, from)
		}
	}
}
