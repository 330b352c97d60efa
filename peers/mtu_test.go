package peers_test

import (
	"net/netip"
	"testing"

	"github.com/warren-mesh/warren/peers"
)

// TestMTU has ways of all sizes. The peers of shop are accounting and warehouse.
func TestMTU(t *testing.T) {
	const four, six = "198.18.0.1:51820", "[2001:db8::1]:51820"
	type peer struct {
		endpoint string
		path     int
		found    int // 0: not tried
		was      int // MTU of its routes
	}
	type routes struct{ mtu4, mtu6 int }
	for name, c := range map[string]struct {
		plan                  int
		accounting, warehouse peer
		link                  int
		wantA, wantW          routes
	}{
		"wide ways":                      {1420, peer{four, 1500, 0, 0}, peer{six, 1500, 0, 0}, 1420, routes{}, routes{}},
		"a mesh for wider ways":          {8900, peer{four, 1500, 0, 0}, peer{six, 1500, 0, 0}, 1440, routes{}, routes{1408, 1408}},
		"a narrow uplink":                {1420, peer{four, 1400, 0, 0}, peer{four, 1400, 0, 0}, 1340, routes{}, routes{}},
		"a narrow uplink, IPv6":          {1420, peer{six, 1400, 0, 0}, peer{six, 1400, 0, 0}, 1320, routes{}, routes{}},
		"the narrowest":                  {1420, peer{four, 1280, 0, 0}, peer{four, 1280, 0, 0}, 1280, routes{1216, 0}, routes{1216, 0}},
		"narrower than can be":           {1420, peer{four, 500, 0, 0}, peer{four, 500, 0, 0}, 1280, routes{576, 0}, routes{576, 0}},
		"one narrow way among wide ones": {1420, peer{four, 1500, 0, 0}, peer{four, 1400, 0, 0}, 1420, routes{}, routes{1328, 1328}},
		"no way known":                   {1420, peer{four, 0, 0, 0}, peer{four, 0, 0, 0}, 1420, routes{}, routes{}},
		"one way known":                  {1420, peer{four, 1400, 0, 0}, peer{four, 0, 0, 0}, 1340, routes{}, routes{}},
		"a black hole":                   {1420, peer{four, 1500, 1420, 0}, peer{four, 1500, 1300, 0}, 1420, routes{}, routes{1300, 1300}},
		"a black hole on a narrow way":   {1420, peer{four, 1500, 1420, 0}, peer{four, 1400, 1310, 0}, 1420, routes{}, routes{1310, 1310}},
		"a black hole below IPv6":        {1420, peer{four, 1500, 1420, 0}, peer{four, 1500, 900, 0}, 1420, routes{}, routes{900, 1280}},
		"one that is over":               {1420, peer{four, 1500, 1420, 1300}, peer{four, 1500, 1420, 1300}, 1420, routes{}, routes{}},
		"one that may be over":           {1420, peer{four, 1500, 0, 1300}, peer{four, 1500, 1420, 1300}, 1420, routes{1300, 1300}, routes{}},
	} {
		plan := planOf(t, threeSites(t), "shop")
		plan.Interfaces[0].MTU = c.plan
		plan.Found = map[peers.HostID]int{}
		k := applied(t, plan)
		link := k.links["wrn1"]
		sides := map[string]peer{"accounting": c.accounting, "warehouse": c.warehouse}
		for i := range plan.Peers {
			p := &plan.Peers[i]
			side := sides[p.Name]
			key, _ := p.Key(1)
			link.peers[key].Endpoint = netip.MustParseAddrPort(side.endpoint)
			link.peers[key].Path = side.path
			if side.found != 0 {
				plan.Found[p.ID] = side.found
			}
			for _, prefix := range p.Prefixes {
				r := k.routes[prefix]
				r.MTU = side.was
				k.routes[prefix] = r
			}
		}
		for _, step := range peers.Diff(k.state(), plan) {
			if err := k.apply(step); err != nil {
				t.Fatal(err)
			}
		}
		if steps := peers.Diff(k.state(), plan); len(steps) != 0 {
			t.Errorf("%s: the second time %v", name, steps)
		}
		if link.mtu != c.link {
			t.Errorf("%s: the link has %d, want %d", name, link.mtu, c.link)
		}
		want := map[string]routes{"accounting": c.wantA, "warehouse": c.wantW}
		for i := range plan.Peers {
			p := &plan.Peers[i]
			got := routes{k.routes[p.Prefixes[0]].MTU, k.routes[p.Prefixes[1]].MTU}
			if got != want[p.Name] {
				t.Errorf("%s: routes to %s have %v, want %v", name, p.Name, got, want[p.Name])
			}
		}
	}
}
