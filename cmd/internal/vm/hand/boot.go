package hand

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Boot is when things came up, in time since the kernel started; zero is not yet.
type Boot struct {
	Network time.Duration // a link but lo is running and has an IPv4 address
	Answer  time.Duration // the first answer through the tunnel
}

// boot watches a guest come up.
type boot struct {
	first netip.AddrPort

	mu  sync.Mutex
	now Boot
}

func newBoot(first netip.AddrPort) *boot { return &boot{first: first} }

func (b *boot) told() Boot {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// networked reports whether the network has come up.
func (b *boot) networked() bool { return b.told().Network != 0 }

// watch asks for an answer every 50 ms, from before there is a network.
func (b *boot) watch() {
	for b.told().Network == 0 {
		if networkIsUp() {
			b.set(func(now *Boot) { now.Network = sinceBoot() })
		}
		<-time.After(20 * time.Millisecond)
	}
	for b.first.IsValid() && b.told().Answer == 0 {
		if answers(b.first) {
			b.set(func(now *Boot) { now.Answer = sinceBoot() })
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (b *boot) set(f func(*Boot)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.now)
}

func sinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func networkIsUp() bool {
	links, err := net.Interfaces()
	if err != nil {
		return false
	}
	for _, l := range links {
		if l.Flags&net.FlagLoopback != 0 || l.Flags&net.FlagRunning == 0 || strings.HasPrefix(l.Name, "wrn") {
			continue
		}
		addrs, err := l.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
				return true
			}
		}
	}
	return false
}

// answers sends one packet and waits a moment for its echo.
func answers(at netip.AddrPort) bool {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return false
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("first")); err != nil {
		return false
	}
	if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		return false
	}
	n, err := conn.Read(make([]byte, 64))
	return err == nil && n == len("first")
}
