package linux

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// A subject is a host under the contract: real or fake. Everything that the tests do to it, both can do.
type subject struct {
	kernel interface {
		Observe(ctx context.Context) (peers.State, error)
		Apply(ctx context.Context, steps []peers.Step) error
		Watch(ctx context.Context) (<-chan struct{}, error)
		Backend() string
	}
	writes  func() uint64      // what counts attempts to set something
	delete  func(link string)  // somebody else deletes a link
	occupy  func(link string)  // somebody else makes a link in our name
	connect func(netip.Prefix) // somebody else has a network
	strict  func(link string)  // somebody else makes the reverse path filter of a link strict
	flush   func()             // somebody else flushes all rules
	forward func(string, bool) // somebody else has what comes in by a link forwarded, IPv4 and IPv6, or not
	text    func() string      // for a failure

	redirects func() bool // whether the host sends redirects, and somebody else who sets it
	redirect  func(bool)
}

func TestContractFake(t *testing.T) {
	contract(t, func(*testing.T) subject {
		f := NewFake()
		return subject{
			kernel:  f,
			writes:  func() uint64 { return uint64(f.Steps()) },
			delete:  f.Delete,
			occupy:  f.Occupy,
			connect: func(p netip.Prefix) { f.SetForeign(peers.Foreign{Prefix: p.Masked(), Link: "lan", Connected: true}) },
			strict:  f.Strict,
			flush:   f.Flush,
			forward: f.Forward,
			text:    f.String,

			redirects: f.Redirects,
			redirect:  f.SetRedirects,
		}
	})
}

func TestContractKernel(t *testing.T) {
	contract(t, func(t *testing.T) subject {
		k := newKernel(t)
		return subject{
			kernel: k,
			writes: k.Writes,
			delete: func(name string) {
				link, err := netlink.LinkByName(name)
				if err == nil {
					err = netlink.LinkDel(link)
				}
				if err != nil {
					t.Fatal(err)
				}
			},
			occupy:  func(name string) { addBridge(t, name) },
			connect: func(p netip.Prefix) { addBridge(t, "lan", p) },
			strict:  func(link string) { sysctl(t, "net/ipv4/conf/"+link+"/rp_filter", "1") },
			flush:   func() { flushRules(t) },
			forward: func(link string, on bool) {
				value := map[bool]string{false: "0", true: "1"}[on]
				sysctl(t, "net/ipv4/conf/"+link+"/forwarding", value)
				sysctl(t, "net/ipv6/conf/"+link+"/force_forwarding", value)
			},
			text: func() string { return system(t) },

			redirects: func() bool { return read(t, redirectsSetting) == "1" },
			redirect: func(on bool) {
				sysctl(t, redirectsSetting, map[bool]string{false: "0", true: "1"}[on])
			},
		}
	})
}

// contract is what a host does with steps, whichever it is.
func contract(t *testing.T, fresh func(*testing.T) subject) {
	cases := []struct {
		name string
		test func(*testing.T, subject)
	}{
		{"nothing of ours", testEmpty},
		{"a plan and nothing twice", testPlan},
		{"a peer changes alone", testOnePeer},
		{"an allowed IP has one peer", testAllowedMoves},
		{"more allowed IPs than fit into a message", testManyAllowed},
		{"peers that are not there", testMissingPeers},
		{"peers are replaced and removed", testReplaceAllowed},
		{"a new private key", testNewKey},
		{"a taken port", testPort},
		{"a link takes all with it", testDelLink},
		{"a route moves", testRouteMoves},
		{"a narrow route", testNarrowRoute},
		{"routes that cannot be", testBadRoutes},
		{"routes that cannot be among many", testRoutesRefused},
		{"an address leaves", testDelAddress},
		{"removing nothing", testRemoveNothing},
		{"a reverse path filter", testRPFilter},
		{"a table of rules", testGuard},
		{"a gateway", testGateway},
		{"redirects", testRedirects},
		{"a link of somebody else", testOccupied},
		{"a network of somebody else", testForeign},
		{"watching", testWatch},
		{"a context that is done", testDone},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := fresh(t)
			defer func() {
				if t.Failed() {
					t.Log(s.text())
				}
			}()
			c.test(t, s)
		})
	}
}

func (s subject) observe(t *testing.T) peers.State {
	t.Helper()
	state, err := s.kernel.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func (s subject) apply(t *testing.T, steps ...peers.Step) {
	t.Helper()
	if err := s.kernel.Apply(t.Context(), steps); err != nil {
		t.Fatal(err)
	}
}

// link observes one link that must be there.
func (s subject) link(t *testing.T, name string) peers.Link {
	t.Helper()
	state := s.observe(t)
	l, ok := state.LinkNamed(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return *l
}

// up makes a link with addresses that is up and has a key.
func (s subject) up(t *testing.T, name string, port uint16) {
	t.Helper()
	s.apply(t,
		peers.AddLink{Name: name, MTU: 1420},
		peers.SetDevice{Link: name, Private: private(name), Port: port},
		peers.AddAddress{Link: name, Prefix: netip.MustParsePrefix("10.90.0.1/32")},
		peers.AddAddress{Link: name, Prefix: netip.MustParsePrefix("fd00:90::1/128")},
		peers.SetLink{Name: name, Up: true},
	)
}

// private makes a key that is always the same for a seed.
func private(seed string) key.Private {
	sum := sha256.Sum256([]byte(seed))
	k, err := key.NewPrivate(&once{sum[:]})
	if err != nil {
		panic(err)
	}
	return k
}

func public(seed string) key.Public { return private(seed).Public() }

func preshared(seed string) *key.Preshared {
	psk := key.PresharedFromBytes(sha256.Sum256([]byte("psk" + seed)))
	return &psk
}

type once struct{ b []byte }

func (o *once) Read(p []byte) (int, error) {
	n := copy(p, o.b)
	o.b = o.b[n:]
	return n, nil
}

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}

// samePrefixes compares in any order: a kernel has its own.
func samePrefixes(t *testing.T, what string, got []netip.Prefix, want ...string) {
	t.Helper()
	have, need := slices.Clone(got), prefixes(want...)
	slices.SortFunc(have, netip.Prefix.Compare)
	slices.SortFunc(need, netip.Prefix.Compare)
	if !slices.Equal(have, need) {
		t.Errorf("%s: %v, want %v", what, have, need)
	}
}

// allowed checks what a peer of wrn0 may send.
func (s subject) allowed(t *testing.T, seed string, want ...string) {
	t.Helper()
	l := s.link(t, "wrn0")
	p, ok := l.Peer(public(seed))
	if !ok {
		t.Errorf("there is no peer %s", seed)
		return
	}
	samePrefixes(t, "allowed IPs of "+seed, p.Allowed, want...)
}

// routed checks all routes of ours.
func (s subject) routed(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, r := range s.observe(t).Routes {
		got = append(got, r.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("routes:\n%q, want\n%q", got, want)
	}
}

// planFor is a plan with n peers.
func planFor(n int) peers.Plan {
	p := peers.Plan{
		Mesh: peers.PlanMesh{
			Overlay: netip.MustParsePrefix("10.90.0.0/16"), Overlay6: netip.MustParsePrefix("fd00:90::/48"), Keepalive: 25,
		},
		Self: peers.Self{
			ID: "self", Address: netip.MustParseAddr("10.90.0.1"), Address6: netip.MustParseAddr("fd00:90::1"),
			Joined: peers.Revision(n + 10),
		},
		Interfaces: []peers.Interface{{Generation: 2, Name: "wrn0", Port: 51820, MTU: 1420, Public: public("self")}},
		PSKs:       peers.PSKs{2: {}},
		Private:    peers.PrivateByGen{2: private("self")},
	}
	for i := range n {
		name := fmt.Sprintf("host%d", i)
		p.Peers = append(p.Peers, peers.Peer{
			ID: peers.HostID(name), Name: name, Joined: peers.Revision(i),
			Prefixes: []netip.Prefix{
				netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 90, byte(1 + i>>8), byte(i)}), 32),
				netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0, 0, 0x90, 14: byte(1 + i>>8), 15: byte(i)}), 128),
			},
			Keys:      []peers.HostKey{{Generation: 2, Public: public(name)}},
			Endpoints: []peers.Endpoint{{Address: netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), uint16(1000+i))}},
		})
		p.PSKs[2][peers.HostID(name)] = *preshared(name)
	}
	return p
}
