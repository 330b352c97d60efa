package peers_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/warren-mesh/warren/peers"
)

var update = flag.Bool("update", false, "write testdata/*.txt anew")

// A story is what a golden file tells: an inventory, the plan of a host, and what the host does about it.
type story struct {
	bytes.Buffer
	t *testing.T
}

func (s *story) headline(format string, args ...any) {
	if s.Len() > 0 {
		s.WriteByte('\n')
	}
	fmt.Fprintf(s, "== "+format+"\n", args...)
}

// inventory tells all objects.
func (s *story) inventory(inv *peers.Inventory) {
	s.headline("inventory at revision %d", inv.Revision)
	for _, o := range inv.Objects() {
		fmt.Fprintf(s, "%s\n", o.Key)
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(o.After, &fields); err != nil {
			s.t.Fatal(err)
		}
		for _, name := range []string{
			"name", "site", "state", "address", "address6", "port", "overlay", "overlay6", "mtu", "keepalive", "next_index",
			"prefixes", "gateways", "uses", "used", "revoked",
		} {
			if v, ok := fields[name]; ok {
				fmt.Fprintf(s, "  %s %s\n", name, v)
			}
		}
	}
}

// plan tells a plan.
func (s *story) plan(p peers.Plan) {
	s.headline("plan of %s at revision %d", p.Self.Name, p.Revision)
	fmt.Fprintf(s, "mesh %s %v %v keepalive %d\n", p.Mesh.Name, p.Mesh.Overlay, p.Mesh.Overlay6, p.Mesh.Keepalive)
	fmt.Fprintf(s, "self %s of %s %v %v\n", p.Self.ID, p.Self.Site, p.Self.Address, p.Self.Address6)
	for _, in := range p.Interfaces {
		fmt.Fprintf(s, "interface %s generation %d port %d mtu %d key %.8s\n", in.Name, in.Generation, in.Port, in.MTU, in.Public)
	}
	for _, peer := range p.Peers {
		fmt.Fprintf(s, "peer %s of %s, since %d\n", peer.Name, peer.Site, peer.Joined)
		for _, prefix := range peer.Prefixes {
			fmt.Fprintf(s, "  allowed %v\n", prefix)
		}
		for _, k := range peer.Keys {
			fmt.Fprintf(s, "  generation %d key %.8s psk %v\n", k.Generation, k.Public, !p.PSKs[k.Generation][peer.ID].IsZero())
		}
		for _, e := range peer.Endpoints {
			fmt.Fprintf(s, "  endpoint %s %v\n", e.Kind, e.Address)
		}
	}
	for _, site := range p.Sites {
		fmt.Fprintf(s, "site %s %v behind %v %v\n", site.Name, site.Prefixes, site.Gateways, site.Networks)
	}
}

// steps tells what a host does, and does it.
func (s *story) steps(what string, k *kernel, p peers.Plan) {
	s.headline("%s: %s", p.Self.Name, what)
	steps := peers.Diff(k.state(), p)
	for _, step := range steps {
		fmt.Fprintln(s, shortKeys(step.String()))
		if err := k.apply(step); err != nil {
			s.t.Errorf("%v: %v", step, err)
		}
	}
	if len(steps) == 0 {
		fmt.Fprintln(s, "nothing to do")
	}
}

// start tells whose turn it is to start handshakes in a rotation, and lets them.
func (s *story) start(k *kernel, p peers.Plan) {
	_, attempts := peers.Roam(k.state(), p, nil, epoch)
	steps, _ := peers.Roam(k.state(), p, attempts, epoch.Add(4500*time.Millisecond))
	for _, step := range steps {
		fmt.Fprintf(s, "later: %s\n", shortKeys(step.String()))
		if err := k.apply(step); err != nil {
			s.t.Errorf("%v: %v", step, err)
		}
	}
}

// shortKeys shortens public keys to what a reader can compare.
func shortKeys(line string) string {
	words := strings.Fields(line)
	for i, w := range words {
		if len(w) == 44 && strings.HasSuffix(w, "=") {
			words[i] = w[:8]
		}
	}
	return strings.Join(words, " ")
}

func (s *story) compare() {
	s.t.Helper()
	path := filepath.Join("testdata", strings.TrimPrefix(s.t.Name(), "TestGolden/")+".txt")
	if *update {
		if err := os.WriteFile(path, s.Bytes(), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatalf("%v (go test ./peers -update)", err)
	}
	if diff := cmp.Diff(string(want), s.String()); diff != "" {
		s.t.Errorf("%s differs (go test ./peers -update):\n%s", path, diff)
	}
}

// TestGolden tells stories of meshes as text.
func TestGolden(t *testing.T) {
	for name, tell := range map[string]func(*story){
		"three-sites": tellThreeSites, "rotation": tellRotation, "gateways": tellGateways,
		"conflicts": tellConflicts, "repairs": tellRepairs,
	} {
		t.Run(name, func(t *testing.T) {
			s := &story{t: t}
			tell(s)
			s.compare()
		})
	}
}

// tellThreeSites: from nothing to a mesh of three, then one of them is revoked.
func tellThreeSites(s *story) {
	inv := threeSites(s.t)
	s.inventory(inv)
	kernels := map[string]*kernel{}
	for _, h := range inv.SortedHosts() {
		kernels[h.Name] = newKernel()
		p := planOf(s.t, inv, h.Name)
		s.plan(p)
		s.steps("from nothing", kernels[h.Name], p)
		s.steps("again", kernels[h.Name], p)
	}
	handshake("wrn1", kernels["shop"], kernels["warehouse"], epoch)
	s.steps("the warehouse has answered", kernels["shop"], planOf(s.t, inv, "shop"))
	inv = after(s.t, inv, peers.SetHostState{ID: idOf("accounting"), State: peers.HostRevoked})
	s.steps("accounting is revoked", kernels["shop"], planOf(s.t, inv, "shop"))
}

// tellRotation: a plan of two generations. Routes move for each peer by itself, once it is proven.
func tellRotation(s *story) {
	inv := threeSites(s.t)
	kernels := map[string]*kernel{}
	all := func(what string) {
		for _, h := range inv.SortedHosts() {
			s.steps(what, kernels[h.Name], planOf(s.t, inv, h.Name))
			if len(inv.Mesh.Generations) == 2 {
				s.start(kernels[h.Name], planOf(s.t, inv, h.Name))
			}
		}
	}
	quiet := &story{t: s.t}
	for _, h := range inv.SortedHosts() {
		kernels[h.Name] = newKernel()
		quiet.steps("from nothing", kernels[h.Name], planOf(s.t, inv, h.Name))
	}
	handshake("wrn1", kernels["shop"], kernels["warehouse"], epoch)
	handshake("wrn1", kernels["shop"], kernels["accounting"], epoch)
	handshake("wrn1", kernels["accounting"], kernels["warehouse"], epoch)
	all("all have answered")
	inv = after(s.t, inv, peers.StartGeneration{Number: 2})
	all("generation 2 begins")
	for _, name := range []string{"shop", "warehouse"} {
		inv = after(s.t, inv, peers.UpdateHost{ID: idOf(name), Keys: keysOf(name, 2)})
	}
	s.plan(planOf(s.t, inv, "shop"))
	all("shop and warehouse have keys")
	handshake("wrn0", kernels["shop"], kernels["warehouse"], epoch)
	all("shop and warehouse have shaken hands")
	inv = after(s.t, inv, peers.UpdateHost{ID: idOf("accounting"), Keys: keysOf("accounting", 2)})
	all("accounting has a key")
	handshake("wrn0", kernels["shop"], kernels["accounting"], epoch)
	handshake("wrn0", kernels["accounting"], kernels["warehouse"], epoch)
	all("all have shaken hands")
	inv = after(s.t, inv, peers.RetireGeneration{Number: 1})
	all("generation 1 ends")
	all("again")
}

// tellGateways: the prefixes of a site move from one gateway to the other.
func tellGateways(s *story) {
	inv := after(s.t, threeSites(s.t), createToken("good", "warehouse"), enroll("good", "lager"), peers.SetSite{
		Name: "warehouse", Prefixes: networks("10.20.0.0/24", "2001:db8:20::/48"), Gateways: []string{"warehouse", "lager"},
	})
	s.inventory(inv)
	k := newKernel()
	s.plan(planOf(s.t, inv, "shop"))
	s.steps("from nothing", k, planOf(s.t, inv, "shop"))
	inv = after(s.t, inv, peers.SetHostState{ID: idOf("warehouse"), State: peers.HostSuspended})
	s.steps("the first gateway is suspended", k, planOf(s.t, inv, "shop"))
	inv = after(s.t, inv, peers.SetHostState{ID: idOf("warehouse"), State: peers.HostActive})
	s.steps("it is back", k, planOf(s.t, inv, "shop"))
	inv = after(s.t, inv, peers.SetSite{Name: "warehouse", Prefixes: networks("10.20.1.0/24"), Gateways: []string{"lager"}})
	s.steps("another prefix at the other one", k, planOf(s.t, inv, "shop"))
	inv = after(s.t, inv, peers.SetSite{
		Name: "warehouse", Prefixes: networks("10.20.1.0/24", "192.168.1.0/24 as 10.61.1.0/24"), Gateways: []string{"warehouse", "lager"},
	})
	p := planOf(s.t, inv, "shop")
	s.plan(p)
	s.plan(planOf(s.t, inv, "lager"))
	s.steps("both, and a network with an alias", k, p)
	p.Acting = map[string]peers.HostID{"warehouse": idOf("lager")}
	s.steps("the second gateway acts", k, p)
	inv = after(s.t, inv, peers.StartGeneration{Number: 2}, peers.UpdateHost{ID: idOf("shop"), Keys: keysOf("shop", 2)},
		peers.UpdateHost{ID: idOf("lager"), Keys: keysOf("lager", 2)}, peers.UpdateHost{ID: idOf("warehouse"), Keys: keysOf("warehouse", 2)})
	p = planOf(s.t, inv, "shop")
	p.Acting = map[string]peers.HostID{"warehouse": idOf("lager")}
	s.steps("a rotation begins", k, p)
	k.links["wrn0"].peers[privateOf("lager", 2).Public()].LastHandshake = epoch
	s.steps("the acting gateway has answered", k, p)
	p.Acting = nil
	s.steps("the first gateway acts, which has not answered", k, p)
}

// tellConflicts: networks that the host has itself, and no IPv6.
func tellConflicts(s *story) {
	inv := after(s.t, threeSites(s.t), peers.SetSite{
		Name: "warehouse", Prefixes: networks("10.20.0.0/24", "10.21.0.0/24"), Gateways: []string{"warehouse"},
	})
	k := newKernel()
	k.ipv6 = false
	p := planOf(s.t, inv, "shop")
	foreign := func(what string, f ...peers.Foreign) {
		k.foreign = f
		s.headline("%s", what)
		for _, problem := range peers.Conflicts(p, f) {
			fmt.Fprintln(s, problem)
		}
		s.steps(what, k, p)
	}
	foreign("no other networks, no IPv6")
	foreign("a LAN like that of the warehouse", peers.Foreign{Prefix: prefixes("10.20.0.0/16")[0], Link: "eth1"})
	foreign("a container bridge in the overlay", peers.Foreign{Prefix: prefixes("10.90.0.0/30")[0], Link: "docker0"})
	foreign("a VPN that takes everything", peers.Foreign{Prefix: prefixes("0.0.0.0/1")[0], Link: "tun0"},
		peers.Foreign{Prefix: prefixes("128.0.0.0/1")[0], Link: "tun0"})
}

// tellRepairs: what others changed is put right in place.
func tellRepairs(s *story) {
	inv := threeSites(s.t)
	k := newKernel()
	p := planOf(s.t, inv, "shop")
	s.steps("from nothing", k, p)
	l := k.links["wrn1"]
	l.up, l.mtu, l.port = false, 1300, 9
	l.addresses = map[netip.Prefix]bool{netip.MustParsePrefix("10.99.0.1/24"): true}
	warehouse, accounting := privateOf("warehouse", 1).Public(), privateOf("accounting", 1).Public()
	l.peers[privateOf("eve", 1).Public()] = &peers.LinkPeer{Key: privateOf("eve", 1).Public()}
	l.owner[prefixes("10.90.0.2/32")[0]] = privateOf("eve", 1).Public()
	l.owner[prefixes("0.0.0.0/0")[0]] = accounting
	l.peers[warehouse].PSK = secretOf(9).Preshared("a", "b")
	l.peers[warehouse].Keepalive = 1
	k.links["wrnx"] = newKernelLink(1420)
	k.routes[prefixes("10.90.0.2/32")[0]] = peers.Route{Prefix: prefixes("10.90.0.2/32")[0], Link: "wrnx"}
	k.routes[prefixes("10.50.0.0/16")[0]] = peers.Route{Prefix: prefixes("10.50.0.0/16")[0], Link: "wrn1"}
	s.steps("after vandals", k, p)
	s.steps("again", k, p)
}
