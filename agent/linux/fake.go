package linux

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// A Fake is a host's network in memory. It takes the same steps as a Kernel, by the kernel's rules: an
// allowed IP moves from peer to peer, a link takes its addresses and routes with it, a route needs a link
// that is up. What the rest of the world does to a network, its other methods do. It prints itself as the
// commands that make what it has. All its methods may be called at any time by anybody.
type Fake struct {
	mu       sync.Mutex
	ipv6     bool
	links    map[string]*fakeLink
	routes   fakeRoutes
	foreign  []peers.Foreign
	locals   []peers.Local
	doubling peers.Doubling
	guard    peers.Table
	knocks   []netip.Addr
	forwards map[string]peers.Forwarding // by link
	counters map[string]peers.Counter
	// redirects are sent by the host, and were until a link came up.
	redirects, redirected bool
	watchers              map[chan struct{}]bool
	refuse                func(peers.Step) error
	index                 int
	steps                 int
}

// NewFake makes a host with IPv6 and without anything of ours.
func NewFake() *Fake {
	return &Fake{
		ipv6: true, redirects: true,
		links:    map[string]*fakeLink{},
		forwards: map[string]peers.Forwarding{},
		routes:   fakeRoutes{at: map[fakeRoute]int{}},
		watchers: map[chan struct{}]bool{},
		index:    1,
	}
}

// Backend is InKernel.
func (f *Fake) Backend() string { return InKernel }

// Observe gives a copy of what the host has.
func (f *Fake) Observe(ctx context.Context) (peers.State, error) {
	if err := ctx.Err(); err != nil {
		return peers.State{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := peers.State{
		IPv6: f.ipv6, Guard: f.guard, Knocks: slices.Clone(f.knocks),
		Routes: slices.Clone(f.routes.list), Foreign: slices.Clone(f.foreign), Local: slices.Clone(f.locals),
		Doubling: peers.Table{There: !f.doubling.IsEmpty(), Digest: f.doubling.Digest()},
	}
	for _, name := range linkNames() {
		if l := f.links[name]; l != nil {
			s.Links = append(s.Links, l.observe())
		}
	}
	s.Forwarding, s.Redirects = f.forwarding(), f.redirected
	return s, nil
}

// Apply carries out steps as Kernel.Apply does.
func (f *Fake) Apply(ctx context.Context, steps []peers.Step) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(steps) > 0 {
		defer f.wake()
	}
	return apply(ctx, steps, func(_ context.Context, group []peers.Step) error {
		for _, s := range group {
			if err := f.do(s); err != nil {
				return err
			}
		}
		return nil
	})
}

// Watch tells of every Apply and of everything that others do to the network. The channel is closed when
// ctx ends.
func (f *Fake) Watch(ctx context.Context) (<-chan struct{}, error) {
	c := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers[c] = true
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, c)
		close(c)
	})
	return c, nil
}

func (f *Fake) wake() {
	for c := range f.watchers {
		wake(c)
	}
}

// Count adds to a counter of the nftables table.
func (f *Fake) Count(name string, packets, bytes uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counters == nil {
		f.counters = map[string]peers.Counter{}
	}
	c := f.counters[name]
	f.counters[name] = peers.Counter{Packets: c.Packets + packets, Bytes: c.Bytes + bytes}
}

// Counters are those that were counted.
func (f *Fake) Counters(context.Context) (map[string]peers.Counter, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counters), nil
}

// Steps counts the steps taken so far, also those that failed.
func (f *Fake) Steps() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.steps
}

// Refuse has every step asked about first; it fails with the error that refuse gives. Nil asks nobody.
func (f *Fake) Refuse(refuse func(peers.Step) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = refuse
}

// SetForeign says what others route on this host.
func (f *Fake) SetForeign(foreign ...peers.Foreign) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.foreign = slices.Clone(foreign)
	f.wake()
}

// SetLocal says which addresses others have given to links of this host that are not ours.
func (f *Fake) SetLocal(local ...peers.Local) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.locals = slices.Clone(local)
	f.wake()
}

// SetIPv6 switches IPv6; without it a host has no IPv6 address and no IPv6 route.
func (f *Fake) SetIPv6(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ipv6 = on
	if !on {
		for name := range f.links {
			f.dropIPv6(name)
		}
		f.routes.drop(func(r peers.Route) bool { return r.Prefix.Addr().Is6() })
	}
	f.wake()
}

// Delete removes a link, as somebody with `ip link delete` would.
func (f *Fake) Delete(link string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delLink(link)
	f.wake()
}

// Flush removes the nftables table, as somebody with `nft flush ruleset` would.
func (f *Fake) Flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.guard = peers.Table{}
	f.wake()
}

// WithoutRules has the host without nftables, for a reason.
func (f *Fake) WithoutRules(why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.guard = peers.Table{Fault: why}
	f.wake()
}

// Knock has somebody begin a handshake from these addresses, again and again, and from no others any more.
func (f *Fake) Knock(from ...netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.knocks = slices.Clone(from)
}

// Strict makes the reverse path filter of a link strict.
func (f *Fake) Strict(link string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.links[link].rpFilter = 1
	f.wake()
}

// Occupy makes a link of our name that is not ours.
func (f *Fake) Occupy(link string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index++
	f.links[link] = &fakeLink{name: link, index: f.index, mtu: 1500, foreign: true}
	f.wake()
}

// Handshake has a peer shake hands at a time, coming from an address where that is valid.
func (f *Fake) Handshake(link string, k key.Public, from netip.AddrPort, at time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, err := f.peer(link, k)
	if err != nil {
		return err
	}
	p.LastHandshake = at
	if from.IsValid() {
		p.Endpoint = from
	}
	p.Rx, p.Tx = p.Rx+handshakeSize, p.Tx+handshakeSize
	return nil
}

// Transfer adds to the counters of a peer.
func (f *Fake) Transfer(link string, k key.Public, rx, tx uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, err := f.peer(link, k)
	if err != nil {
		return err
	}
	p.Rx, p.Tx = p.Rx+rx, p.Tx+tx
	return nil
}

func (f *Fake) peer(link string, k key.Public) (*peers.LinkPeer, error) {
	l := f.links[link]
	if l == nil {
		return nil, fmt.Errorf("there is no interface %s", link)
	}
	if p := l.find(k); p != nil {
		return p, nil
	}
	return nil, errors.New("there is no such peer on " + link)
}
