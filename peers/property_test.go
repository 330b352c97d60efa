package peers_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"pgregory.net/rapid"
)

// A world is a mesh whose hosts do what their plans say, in random order.
type world struct {
	inv     *peers.Inventory
	kernels map[string]*kernel
	now     time.Time
}

// someOp draws an operation that is mostly valid.
func (w *world) someOp(t *rapid.T) peers.Op {
	host := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "host")
	site := rapid.SampledFrom([]string{"shop", "warehouse", "accounting"}).Draw(t, "site")
	current := w.inv.Mesh.Current()
	switch rapid.IntRange(0, 14).Draw(t, "op") {
	case 12, 13:
		return w.someApply(t, host, site)
	case 14:
		return w.someEnd(t)
	case 0, 1, 2:
		op := enroll("t-"+site, host)
		op.Keys = keysOf(host, current)
		op.Endpoints = someEndpoints(t)
		return op
	case 3:
		return peers.SetHostState{ID: idOf(host), State: rapid.SampledFrom([]peers.HostState{
			peers.HostActive, peers.HostActive, peers.HostSuspended, peers.HostRevoked,
		}).Draw(t, "state")}
	case 4:
		return peers.RemoveHost{ID: idOf(host)}
	case 5, 6:
		return peers.UpdateHost{ID: idOf(host), Keys: keysOf(host, current), Endpoints: someEndpoints(t)}
	case 7:
		return peers.SetSite{
			Name: site, Gateways: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}), 0, 2,
				rapid.ID).Draw(t, "gateways"),
			Prefixes: somePrefixes(t),
		}
	case 9:
		return peers.SetPolicy{Policy: peers.Policy{Flows: rapid.SliceOfN(rapid.Custom(someFlow), 0, 4).Draw(t, "flows")}}
	case 10:
		return peers.LabelHost{ID: idOf(host), Set: map[string]string{
			"role": rapid.SampledFrom([]string{"till", "db"}).Draw(t, "role"),
		}}
	case 8:
		if len(w.inv.Mesh.Generations) == 2 {
			return peers.RetireGeneration{Number: current - 1}
		}
		return peers.StartGeneration{Number: current + 1}
	default:
		mtu := rapid.IntRange(1200, 1500).Draw(t, "mtu")
		return peers.SetMesh{MTU: &mtu}
	}
}

func someEndpoints(t *rapid.T) []peers.Endpoint {
	all := []peers.Endpoint{
		observed("198.51.100.1:51820"), observed("[2001:db8::1]:51820"), observed("203.0.113.9:40000"),
		{Kind: peers.EndpointPinned, Address: netip.MustParseAddrPort("198.51.100.2:51820")},
		{Kind: peers.EndpointLocal, Address: netip.MustParseAddrPort("192.168.1.2:51820")},
	}
	return rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, 3, rapid.ID).Draw(t, "endpoints")
}

func somePrefixes(t *rapid.T) []peers.SitePrefix {
	all := networks("10.20.0.0/24", "10.20.1.0/24", "10.20.0.0/16", "10.21.0.0/16", "2001:db8:20::/48", "10.90.0.0/24",
		"10.20.0.0/24 as 10.61.1.0/24", "10.20.0.0/24 as 10.61.2.0/24", "10.21.0.0/16 as 10.20.0.0/16 snat",
		"2001:db8:20::/48 as fd20::/48", "2001:db8:20::/48 as fd21::/48")
	return rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, 2, rapid.ID).Draw(t, "prefixes")
}

func newWorld(t *rapid.T) *world {
	w := &world{inv: &peers.Inventory{}, kernels: map[string]*kernel{}, now: epoch}
	w.do(t, createMesh())
	for _, site := range []string{"shop", "warehouse", "accounting"} {
		w.do(t, createToken("t-"+site, site))
	}
	return w
}

// do applies an operation and holds what must be true of every change.
func (w *world) do(t *rapid.T, op peers.Op) {
	before := text(w.inv)
	next, e, err := w.inv.Record(change(op))
	if text(w.inv) != before {
		t.Fatalf("%s changes the inventory that it is applied to", op.Kind())
	}
	if err != nil {
		var ps peers.Problems
		if !errors.As(err, &ps) || len(ps) == 0 {
			t.Fatalf("%s: %v is no Problems", op.Kind(), err)
		}
		if _, again := w.inv.Apply(change(op)); again.Error() != err.Error() {
			t.Fatalf("%s: other problems the second time:\n%v\n%v", op.Kind(), err, again)
		}
		return
	}
	checkEntry(t, w.inv, next, e)
	checkInventory(t, next)
	w.inv = next
}

// checkEntry: the entry as JSON leads to the same inventory again, and so do its objects.
func checkEntry(t *rapid.T, inv, next *peers.Inventory, e peers.Entry) {
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := peers.DecodeEntry(raw)
	if err != nil {
		t.Fatal(err)
	}
	replayed, err := inv.Replay(decoded)
	if err != nil {
		t.Fatalf("%s\n%v", raw, err)
	}
	objects := map[string]json.RawMessage{}
	for _, o := range inv.Objects() {
		objects[o.Key] = o.After
	}
	for _, o := range e.Objects {
		if string(objects[o.Key]) != string(o.Before) {
			t.Fatalf("%s before: %s, want %s", o.Key, o.Before, objects[o.Key])
		}
		if objects[o.Key] = o.After; o.After == nil {
			delete(objects, o.Key)
		}
	}
	loaded, err := peers.Load(e.Revision, e.Hash, objects)
	if err != nil {
		t.Fatal(err)
	}
	for how, got := range map[string]*peers.Inventory{"replayed": replayed, "loaded": loaded} {
		if text(got) != text(next) {
			t.Fatalf("%s: another inventory\n%s\nwant\n%s", how, text(got), text(next))
		}
	}
}

// checkInventory: names, addresses and keys are unique, and so is what plans make of them.
func checkInventory(t *rapid.T, inv *peers.Inventory) {
	seen := map[string]string{}
	unique := func(what, host string) {
		if other, taken := seen[what]; taken {
			t.Fatalf("%s has %s, and so has %s", host, what, other)
		}
		seen[what] = host
	}
	for id, h := range inv.Hosts {
		if id != h.ID || string(id) != h.Identity.Fingerprint() {
			t.Fatalf("%s has id %s", h.Name, h.ID)
		}
		unique("name "+h.Name, h.Name)
		unique("address "+h.Address.String(), h.Name)
		unique("address "+h.Address6.String(), h.Name)
		for _, k := range h.Keys {
			unique("key "+k.Public.String(), h.Name)
		}
		if inv.Sites[h.Site] == nil {
			t.Fatalf("%s is of site %q, which is not there", h.Name, h.Site)
		}
	}
	plans := map[peers.HostID]peers.Plan{}
	for id, h := range inv.Hosts {
		if h.State == peers.HostActive {
			plans[id] = planWithSecrets(t, inv, h.Name)
			checkPlan(t, inv, plans[id])
		}
	}
	checkSymmetry(t, inv, plans)
}

func planWithSecrets(t *rapid.T, inv *peers.Inventory, name string) peers.Plan {
	p, err := inv.Plan(idOf(name))
	if err != nil {
		t.Fatal(err)
	}
	p.Private = peers.PrivateByGen{}
	secrets := map[peers.Generation]key.Secret{}
	for _, in := range p.Interfaces {
		p.Private[in.Generation] = privateOf(name, in.Generation)
		secrets[in.Generation] = secretOf(in.Generation)
	}
	return p.WithPSKs(secrets)
}

// checkPlan: no address is at two peers of an interface, peers are in order, and nothing in the plan
// depends on the order of maps.
func checkPlan(t *rapid.T, inv *peers.Inventory, p peers.Plan) {
	var all []netip.Prefix
	for _, peer := range p.Peers {
		for _, prefix := range peer.Prefixes {
			for _, other := range all {
				if prefix.Overlaps(other) {
					t.Fatalf("%s: %v of %s overlaps %v", p.Self.Name, prefix, peer.Name, other)
				}
			}
		}
		all = append(all, peer.Prefixes...)
		record, ok := inv.Peer(peer.ID)
		if !ok || !reflect.DeepEqual(record, peer) {
			t.Fatalf("%s is %+v to %s and %+v to all", peer.Name, peer, p.Self.Name, record)
		}
	}
	if !slices.IsSortedFunc(p.Peers, peers.ComparePeers) {
		t.Fatalf("the peers of %s are not in order", p.Self.Name)
	}
	checkSites(t, inv, p)
	again := planWithSecrets(t, shuffled(inv), p.Self.Name)
	if !reflect.DeepEqual(p, again) {
		t.Fatalf("the plan of %s is not the same every time:\n%+v\n%+v", p.Self.Name, p, again)
	}
}

// checkSites: the networks of other sites are each at one peer, a gateway of the site that is in the plan; they
// overlap nothing, and none is of the host's own site.
func checkSites(t *rapid.T, inv *peers.Inventory, p peers.Plan) {
	site := inv.Sites[p.Self.Site]
	if gateway := len(site.Prefixes) > 0 && slices.Contains(site.Gateways, p.Self.Name); gateway != (p.Forwards() != nil) ||
		gateway && !slices.Equal(p.Forwards(), site.Prefixes) {
		t.Fatalf("%s is told to forward for %v, its site is %+v", p.Self.Name, p.Forwards(), site)
	}
	behind := p.Behind()
	all := []netip.Prefix{p.Mesh.Overlay, p.Mesh.Overlay6}
	for _, n := range site.Prefixes {
		if len(site.Gateways) > 0 {
			all = append(all, n.Known(), n.Prefix)
		}
	}
	all = slices.Compact(all) // a network without an alias is there twice
	own := len(all)
	for _, s := range p.Sites {
		if inv.Sites[s.Name] == nil || s.Name != p.Self.Site && len(s.Networks) > 0 {
			t.Fatalf("%s is told of %+v", p.Self.Name, s)
		}
		for _, prefix := range s.Prefixes {
			if s.Name == p.Self.Site {
				continue
			}
			for _, other := range all {
				if prefix.Overlaps(other) {
					t.Fatalf("%s: %v of %s overlaps %v", p.Self.Name, prefix, s.Name, other)
				}
			}
			all = append(all, prefix)
			holders := 0
			for id, prefixes := range behind {
				h := inv.Hosts[id]
				if !slices.Contains(prefixes, prefix) {
					continue
				}
				if holders++; h == nil || !slices.Contains(inv.Sites[s.Name].Gateways, h.Name) ||
					!slices.ContainsFunc(p.Peers, func(peer peers.Peer) bool { return peer.ID == id }) {
					t.Fatalf("%s: %v of %s is behind %+v", p.Self.Name, prefix, s.Name, h)
				}
			}
			there := slices.ContainsFunc(p.Peers, func(peer peers.Peer) bool { return slices.Contains(s.Gateways, peer.ID) })
			if holders > 1 || (holders == 1) != there {
				t.Fatalf("%s: %v of %s is behind %d peers", p.Self.Name, prefix, s.Name, holders)
			}
		}
	}
	total := 0
	for _, prefixes := range behind {
		total += len(prefixes)
	}
	if total > len(all)-own {
		t.Fatalf("%s: behind others are %v, the sites have %v", p.Self.Name, behind, all[own:])
	}
}

// shuffled is the same inventory in maps that were filled in another order.
func shuffled(inv *peers.Inventory) *peers.Inventory {
	out := *inv
	out.Hosts, out.Sites = reordered(inv.Hosts), reordered(inv.Sites)
	return &out
}

func reordered[K comparable, V any](m map[K]V) map[K]V {
	keys := slices.Collect(maps.Keys(m))
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	out := map[K]V{}
	for _, k := range keys {
		out[k] = m[k]
	}
	return out
}

// checkSymmetry: who has somebody as a peer is his peer, with keys and pre-shared keys that fit.
func checkSymmetry(t *rapid.T, inv *peers.Inventory, plans map[peers.HostID]peers.Plan) {
	for id, p := range plans {
		for _, peer := range p.Peers {
			q, ok := plans[peer.ID]
			if !ok {
				t.Fatalf("%s has %s, who has no plan", p.Self.Name, peer.Name)
			}
			own, ok := inv.Peer(id)
			if !ok {
				continue // it has no key yet; nobody else has it
			}
			i := slices.IndexFunc(q.Peers, func(o peers.Peer) bool { return o.ID == id })
			if i < 0 {
				t.Fatalf("%s has %s, but not the other way round", p.Self.Name, peer.Name)
			}
			for _, k := range peer.Keys {
				if public := q.Private[k.Generation].Public(); public != k.Public {
					t.Fatalf("%s knows a key of %s that is not his", p.Self.Name, peer.Name)
				}
				if _, both := own.Key(k.Generation); both && !p.PSKs[k.Generation][peer.ID].Equal(q.PSKs[k.Generation][id]) {
					t.Fatalf("%s and %s have other pre-shared keys", p.Self.Name, peer.Name)
				}
			}
		}
	}
}

// TestWorld lets a mesh live: changes, hosts that catch up when they like, handshakes.
func TestWorld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(5, 40).Draw(t, "changes") {
			w.do(t, w.someOp(t))
			for _, h := range w.inv.SortedHosts() {
				if rapid.IntRange(0, 2).Draw(t, "catches up") > 0 {
					w.reconcile(t, h)
				}
			}
			w.handshakes(t)
		}
		for range 3 {
			for _, h := range w.inv.SortedHosts() {
				w.reconcile(t, h)
			}
			w.handshakes(t)
		}
	})
}

// handshakes lets some pairs shake hands that can.
func (w *world) handshakes(t *rapid.T) {
	w.now = w.now.Add(time.Minute)
	names := slices.Sorted(maps.Keys(w.kernels))
	for i, a := range names {
		for _, b := range names[i+1:] {
			for _, link := range []string{"wrn0", "wrn1"} {
				if rapid.IntRange(0, 3).Draw(t, "handshake") > 0 {
					handshake(link, w.kernels[a], w.kernels[b], w.now)
				}
			}
		}
	}
}

// reconcile makes a host what its plan says, if it has one.
func (w *world) reconcile(t *rapid.T, h *peers.Host) {
	if h.State != peers.HostActive {
		delete(w.kernels, h.Name)
		return
	}
	k := w.kernels[h.Name]
	if k == nil {
		k = newKernel()
		k.ipv6 = rapid.Bool().Draw(t, "IPv6")
		w.kernels[h.Name] = k
	}
	reconcile(t, k, planWithSecrets(t, w.inv, h.Name))
}

// reconcile takes the steps of a plan. No step must break what flows and may flow on; afterwards there is
// nothing left to do.
func reconcile(t *rapid.T, k *kernel, p peers.Plan) {
	keep := k.flowing(p)
	for i, step := range peers.Diff(k.state(), p) {
		if err := k.apply(step); err != nil {
			t.Fatalf("%s: step %d, %v: %v", p.Self.Name, i, step, err)
		}
		for to, name := range keep {
			if _, _, ok := k.flows(to); !ok {
				t.Fatalf("%s: step %d, %v, breaks what flows to %s at %v", p.Self.Name, i, step, name, to)
			}
		}
	}
	if rest := peers.Diff(k.state(), p); len(rest) > 0 {
		t.Fatalf("%s: left to do: %v", p.Self.Name, rest)
	}
	k.check(t, p)
}

// flowing are the addresses of peers that packets reach now and that the plan leaves as they are: with
// the same key, on an interface that keeps its own.
func (k *kernel) flowing(p peers.Plan) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for _, peer := range p.Peers {
		for _, prefix := range peer.Prefixes[:2] {
			link, through, ok := k.flows(prefix.Addr())
			for _, in := range p.Interfaces {
				if public, has := peer.Key(in.Generation); ok && has && public == through && in.Name == link &&
					k.links[link].public == p.Private[in.Generation].Public() {
					out[prefix.Addr()] = peer.Name
				}
			}
		}
	}
	return out
}

// check: each address of a peer is routed to where that peer is, and everything else in the overlay nowhere.
func (k *kernel) check(t *rapid.T, p peers.Plan) {
	behind := p.Behind()
	for _, peer := range p.Peers {
		for _, prefix := range slices.Concat(peer.Prefixes, behind[peer.ID]) {
			if prefix.Addr().Is6() && !k.ipv6 {
				continue
			}
			link := k.route(prefix.Addr())
			l := k.links[link]
			if l == nil {
				t.Fatalf("%s: %v of %s is not routed", p.Self.Name, prefix, peer.Name)
			}
			owner, ok := l.owner[prefix]
			if !ok || !slices.ContainsFunc(peer.Keys, func(h peers.HostKey) bool { return h.Public == owner }) {
				t.Fatalf("%s: %v of %s is at another peer of %s", p.Self.Name, prefix, peer.Name, link)
			}
		}
	}
	nobody := netip.MustParseAddr("10.90.255.1")
	if !k.nowhere[p.Mesh.Overlay] || k.route(nobody) != "" {
		t.Fatalf("%s: the overlay is not closed: %v", p.Self.Name, k.nowhere)
	}
	for _, prefix := range p.Gate.Remote {
		if k.nowhere[prefix] != (k.ipv6 || prefix.Addr().Is4()) {
			t.Fatalf("%s: without a tunnel, %v of another site leaves by any way: %v", p.Self.Name, prefix, k.nowhere)
		}
	}
}

// TestDiffFromAnything: whatever a kernel has, the steps of a plan can all be taken and lead there.
func TestDiffFromAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(3, 20).Draw(t, "changes") {
			w.do(t, w.someOp(t))
		}
		for _, h := range w.inv.SortedHosts() {
			if h.State != peers.HostActive {
				continue
			}
			p := planWithSecrets(t, w.inv, h.Name)
			k := someKernel(t, p)
			for i, step := range peers.Diff(k.state(), p) {
				if err := k.apply(step); err != nil {
					t.Fatalf("step %d, %v: %v", i, step, err)
				}
			}
			if rest := peers.Diff(k.state(), p); len(rest) > 0 {
				t.Fatalf("left to do: %v", rest)
			}
			k.check(t, p)
		}
	})
}

// someKernel draws a kernel with parts of the plan, of other plans, and of no plan at all.
func someKernel(t *rapid.T, p peers.Plan) *kernel {
	k := newKernel()
	k.ipv6 = rapid.Bool().Draw(t, "IPv6")
	addresses := prefixes("10.90.0.1/32", "10.90.0.2/32", "fd00:90::1/128", "10.99.0.1/24")
	allowed := append(prefixes("10.90.0.1/32", "10.90.0.2/32", "10.90.0.3/32", "fd00:90::2/128", "10.20.0.0/24", "0.0.0.0/0"),
		p.Mesh.Overlay)
	for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"wrn0", "wrn1", "wrnx"}), rapid.ID).Draw(t, "links") {
		l := newKernelLink(rapid.IntRange(1280, 1500).Draw(t, "mtu"))
		l.up = rapid.Bool().Draw(t, "up")
		l.port = uint16(rapid.IntRange(51819, 51822).Draw(t, "port"))
		for _, a := range rapid.SliceOfDistinct(rapid.SampledFrom(addresses), rapid.ID).Draw(t, "addresses") {
			l.addresses[a] = true
		}
		for range rapid.IntRange(0, 8).Draw(t, "peers") {
			peer := &peers.LinkPeer{Key: privateOf(
				rapid.SampledFrom([]string{"a", "b", "c", "d", "eve"}).Draw(t, "peer"),
				peers.Generation(rapid.IntRange(1, 3).Draw(t, "generation"))).Public()}
			peer.Keepalive = rapid.IntRange(0, 30).Draw(t, "keepalive")
			if rapid.Bool().Draw(t, "answers") {
				peer.LastHandshake = epoch
			}
			l.peers[peer.Key] = peer
			for _, a := range rapid.SliceOfDistinct(rapid.SampledFrom(allowed), rapid.ID).Draw(t, "allowed") {
				l.owner[a] = peer.Key
			}
		}
		k.links[name] = l
	}
	for _, prefix := range allowed {
		if rapid.Bool().Draw(t, fmt.Sprint("route to ", prefix)) {
			link := rapid.SampledFrom(append(slices.Collect(maps.Keys(k.links)), "")).Draw(t, "link")
			if link == "" {
				k.nowhere[prefix] = true
			} else {
				k.routes[prefix] = peers.Route{Prefix: prefix, Link: link}
			}
		}
	}
	return k
}
