package limit

import (
	"maps"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Of each source this many attempts may fail at once, and then one in failureInterval.
const (
	failureBurst    = 20
	failureInterval = 3 * time.Second
	maxSources      = 10_000
)

// Attempts counts failed attempts by source address. Those that succeed cost nothing, so that a hundred
// hosts behind one address can enrol at once while nobody can guess for long. The zero value is ready
// for use, also concurrently.
type Attempts struct {
	mu      sync.Mutex
	sources map[netip.Addr]*rate.Limiter
}

// Wait is how long a source has to wait before its next attempt; 0 for not at all.
func (a *Attempts) Wait(from netip.Addr, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.sources[source(from)]
	if l == nil {
		return 0
	}
	lack := 1 - l.TokensAt(now)
	return max(0, time.Duration(lack*float64(failureInterval)))
}

// Failed counts an attempt that failed.
func (a *Attempts) Failed(from netip.Addr, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := source(from)
	l := a.sources[key]
	if l == nil {
		a.makeRoom(now)
		l = rate.NewLimiter(rate.Every(failureInterval), failureBurst)
		a.sources[key] = l
	}
	l.AllowN(now, 1)
}

// makeRoom forgets sources that have recovered, and all of them where that is not enough: a table that
// grows without bound would be the easier attack.
func (a *Attempts) makeRoom(now time.Time) {
	if a.sources == nil {
		a.sources = map[netip.Addr]*rate.Limiter{}
	}
	if len(a.sources) < maxSources {
		return
	}
	maps.DeleteFunc(a.sources, func(_ netip.Addr, l *rate.Limiter) bool { return l.TokensAt(now) >= failureBurst })
	if len(a.sources) >= maxSources {
		clear(a.sources)
	}
}

// source is what counts as one: an IPv4 address, or the IPv6 network that a customer gets.
func source(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
