package linux

import (
	"maps"
	"slices"

	"github.com/warren-mesh/warren/peers"
)

// forwarding is that of all links that there are: ours, and those on which others have networks.
func (f *Fake) forwarding() (out []peers.Forwarding) {
	names := map[string]bool{}
	for name := range f.links {
		names[name] = true
	}
	for _, r := range f.foreign {
		names[r.Link] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		one := f.forwards[name]
		one.Link = name
		out = append(out, one)
	}
	return out
}

func (f *Fake) setForwarding(s peers.SetForwarding) {
	one := f.forwards[s.Link]
	if s.IPv6 {
		one.IPv6, one.Ours6 = s.On, s.On
	} else {
		one.IPv4, one.Ours4 = s.On, s.On
	}
	f.forwards[s.Link] = one
}

// Redirects reports whether the host sends redirects (net.ipv4.conf.all.send_redirects).
func (f *Fake) Redirects() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.redirects
}

// SetRedirects has somebody else set that.
func (f *Fake) SetRedirects(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.redirects = on
}

// Forward has somebody else turn on, or off, that what comes in by a link is forwarded.
func (f *Fake) Forward(link string, on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.forwards[link]
	one.IPv4, one.IPv6 = on, on
	f.forwards[link] = one
	f.wake()
}
