package peers_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/peers"
)

// allowed is the policy as its text says it: any flow that has both sides and the service. It is the reference
// for everything that is compiled. owner finds who has an address.
func allowed(inv *peers.Inventory, from, to netip.Addr, protocol peers.Protocol, port uint16) bool {
	if inv.Policy == nil {
		return true
	}
	for _, f := range inv.Policy.Flows {
		if !slices.ContainsFunc(f.From, func(s peers.Selector) bool { return owns(inv, s, from) }) ||
			!slices.ContainsFunc(f.To, func(s peers.Selector) bool { return owns(inv, s, to) }) {
			continue
		}
		for _, s := range f.Allow {
			if s.Protocol == peers.AnyProtocol || s.Protocol == protocol &&
				(protocol == peers.ICMP || s.Ports.First <= port && port <= s.Ports.Last) {
				return true
			}
		}
	}
	return false
}

// owns reports whether a selector selects whoever has an address of the mesh.
func owns(inv *peers.Inventory, s peers.Selector, a netip.Addr) bool {
	if s.Kind == peers.SelectAll || s.Kind == peers.SelectPrefix && s.Prefix.Contains(a) {
		return true
	}
	for _, h := range inv.Hosts {
		if h.Address == a || h.Address6 == a {
			value, labelled := h.Labels[s.Name]
			return s.Kind == peers.SelectHost && h.Name == s.Name || s.Kind == peers.SelectSite && h.Site == s.Name ||
				s.Kind == peers.SelectLabel && labelled && value == s.Value
		}
	}
	for _, site := range inv.Sites {
		if slices.ContainsFunc(site.Known(), func(p netip.Prefix) bool { return p.Contains(a) }) {
			return s.Kind == peers.SelectSite && site.Name == s.Name
		}
	}
	return false
}

func someSelector(t *rapid.T) peers.Selector {
	return rapid.SampledFrom(selectors("*", "host:a", "host:b", "host:c", "host:d", "site:shop", "site:warehouse",
		"site:accounting", "label:role=till", "label:role=db", "10.90.0.0/30", "10.90.0.2", "10.90.0.0/16", "10.20.0.0/25",
		"10.20.0.9", "10.0.0.0/8", "fd00:90::/126", "fd20::/64", "fd00::/8")).Draw(t, "selector")
}

func someFlow(t *rapid.T) peers.Flow {
	some := rapid.Custom(someSelector)
	return peers.Flow{
		From: rapid.SliceOfN(some, 1, 3).Draw(t, "from"), To: rapid.SliceOfN(some, 1, 3).Draw(t, "to"),
		Allow: rapid.SliceOfN(rapid.SampledFrom(allow("*", "icmp", "tcp", "udp/53", "tcp/5432", "tcp/5430-5440", "tcp/5435-6000",
			"udp/1-65535")), 1, 3).Draw(t, "allow"),
	}
}

// someMesh is four hosts in three sites, one of which has networks and two gateways, with labels and a policy.
func someMesh(t *rapid.T, base *peers.Inventory) *peers.Inventory {
	inv := base
	do := func(op peers.Op) {
		next, err := inv.Apply(change(op))
		if err != nil {
			t.Fatalf("%s: %v", op.Kind(), err)
		}
		inv = next
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		if v := rapid.SampledFrom([]string{"", "till", "db"}).Draw(t, "role of "+name); v != "" {
			do(peers.LabelHost{ID: idOf(name), Set: map[string]string{"role": v}})
		}
	}
	do(peers.SetPolicy{Policy: peers.Policy{Flows: rapid.SliceOfN(rapid.Custom(someFlow), 0, 6).Draw(t, "flows")}})
	if rapid.Bool().Draw(t, "gateway a is away") {
		do(peers.SetHostState{ID: idOf("a"), State: peers.HostSuspended})
	}
	return inv
}

func fourHosts(t testing.TB) *peers.Inventory {
	inv := after(t, &peers.Inventory{}, createMesh())
	for _, site := range []string{"shop", "warehouse", "accounting"} {
		inv = after(t, inv, createToken("t-"+site, site))
	}
	for name, site := range map[string]string{"a": "warehouse", "b": "warehouse", "c": "shop", "d": "accounting"} {
		inv = after(t, inv, enroll("t-"+site, name))
	}
	return after(t, inv, peers.SetSite{
		Name: "warehouse", Prefixes: networks("10.20.0.0/24", "fd20::/64"), Gateways: []string{"a", "b"},
	})
}

// TestPolicyCompiles: whatever the policy, a host lets in exactly what the policy says, and two hosts have each
// other in their plans exactly if something may go from one to the other.
func TestPolicyCompiles(t *testing.T) {
	base := fourHosts(t)
	rapid.Check(t, func(t *rapid.T) {
		inv := someMesh(t, base)
		byID := map[peers.HostID]peers.Plan{}
		for _, p := range inv.Planner().Plans() {
			byID[p.Self.ID] = p
			alone, err := inv.Plan(p.Self.ID)
			if one, other := asJSON(t, p), asJSON(t, alone); err != nil || one != other {
				t.Fatalf("the plan of %s is another one by itself: %v\n%s\n%s", p.Self.Name, err, one, other)
			}
		}
		for _, to := range byID {
			checkLetsIn(t, inv, &to, byID)
			checkKnows(t, inv, &to, byID)
		}
	})
}

func asJSON(t *rapid.T, v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// addressesOf are those of a host and, of a gateway that forwards, some behind it.
func addressesOf(p *peers.Plan, all map[peers.HostID]peers.Plan) (out []netip.Addr) {
	out = append(out, p.Self.Address, p.Self.Address6)
	forwards := p.Self.Name == "a" // the first gateway that is there
	if p.Self.Name == "b" {
		_, away := all[idOf("a")]
		forwards = !away
	}
	if forwards {
		for _, a := range []string{"10.20.0.9", "10.20.0.200", "fd20::7"} {
			out = append(out, netip.MustParseAddr(a))
		}
	}
	return out
}

func checkLetsIn(t *rapid.T, inv *peers.Inventory, p *peers.Plan, all map[peers.HostID]peers.Plan) {
	f := p.Filter()
	checkDisjoint(t, f)
	for _, other := range all {
		if other.Self.ID == p.Self.ID {
			continue
		}
		for _, from := range addressesOf(&other, all) {
			for _, to := range addressesOf(p, all) {
				for _, protocol := range []peers.Protocol{peers.TCP, peers.UDP, peers.ICMP, "gre"} {
					for _, port := range []uint16{1, 53, 5430, 5432, 5435, 5441, 65535} {
						if from.Is4() != to.Is4() || protocol == peers.ICMP && port > 1 {
							continue
						}
						got, want := f.Decide(from, to, protocol, port), allowed(inv, from, to, protocol, port)
						if (got != 0) != want {
							t.Fatalf("%v → %v %s/%d: flow %d lets it in, and it is allowed: %v\n%v", from, to, protocol, port, got, want, inv.Policy)
						}
					}
				}
			}
		}
	}
}

// checkDisjoint: a kernel takes ranges only if none overlaps another.
func checkDisjoint(t *rapid.T, f *peers.Filter) {
	for i := range f.Targets {
		if i > 0 && !f.Targets[i-1].To.Last.Less(f.Targets[i].To.First) {
			t.Fatalf("targets %v and %v", f.Targets[i-1].To, f.Targets[i].To)
		}
		from := f.Targets[i].Sources
		for j := range from {
			if j > 0 && !from[j-1].From.Last.Less(from[j].From.First) {
				t.Fatalf("sources %v and %v", from[j-1].From, from[j].From)
			}
		}
	}
	for _, c := range f.Classes {
		for _, ports := range [][]peers.PortRule{c.TCP, c.UDP} {
			for i := range ports {
				if ports[i].Last < ports[i].First || i > 0 && ports[i].First <= ports[i-1].Last {
					t.Fatalf("ports %v", ports)
				}
			}
		}
	}
}

// checkKnows: two hosts know each other if and only if something may go between them.
func checkKnows(t *rapid.T, inv *peers.Inventory, p *peers.Plan, all map[peers.HostID]peers.Plan) {
	for id, other := range all {
		if id == p.Self.ID {
			continue
		}
		knows := slices.ContainsFunc(p.Peers, func(peer peers.Peer) bool { return peer.ID == id })
		back := slices.ContainsFunc(other.Peers, func(peer peers.Peer) bool { return peer.ID == p.Self.ID })
		if knows != back {
			t.Fatalf("%s and %s: only one knows the other", p.Self.Name, other.Self.Name)
		}
		if want := meet(inv, p.Self.Name, other.Self.Name); knows != want {
			t.Fatalf("%s knows %s: %v, want %v\n%v", p.Self.Name, other.Self.Name, knows, want, inv.Policy)
		}
	}
}

// meet looks at each flow: does it select something of both?
func meet(inv *peers.Inventory, a, b string) bool {
	if a, b := gatewayOf(inv, a), gatewayOf(inv, b); a != "" && a == b {
		return true
	}
	return slices.ContainsFunc(inv.Policy.Flows, func(f peers.Flow) bool {
		return selectsHost(inv, f.From, a) && selectsHost(inv, f.To, b) || selectsHost(inv, f.From, b) && selectsHost(inv, f.To, a)
	})
}

// gatewayOf is the site that a host is a gateway of; "" for none.
func gatewayOf(inv *peers.Inventory, name string) string {
	h, _ := inv.HostNamed(name)
	if slices.Contains(inv.Sites[h.Site].Gateways, name) {
		return h.Site
	}
	return ""
}

func selectsHost(inv *peers.Inventory, list []peers.Selector, name string) bool {
	h, _ := inv.HostNamed(name)
	of := h.Addresses()
	if slices.Contains(inv.Sites[h.Site].Gateways, name) {
		of = append(of, inv.Sites[h.Site].Known()...)
	}
	return slices.ContainsFunc(list, func(s peers.Selector) bool {
		if s.Kind == peers.SelectPrefix {
			return slices.ContainsFunc(of, s.Prefix.Overlaps)
		}
		return owns(inv, s, h.Address)
	})
}
