package demo

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// The sites of the demo. A site with one gateway has a gateway of its name.
const (
	shop       = "shop"
	warehouse  = "warehouse"
	accounting = "accounting"
)

// A Site is one of the company's places: a LAN, the gateways that join it with the others, and a machine on it that
// knows nothing of the mesh but an address to send everything to.
type Site struct {
	Name     string       `json:"name"`
	Network  netip.Prefix `json:"network"`
	Gateways []string     `json:"gateways"` // in order of priority
	Machine  string       `json:"machine"`
	Address  netip.Addr   `json:"address"` // of the machine
}

// company is where the shop's till, the ERP and the ledger of accounting are.
func company() []Site {
	site := func(name, network, machine string, gateways ...string) Site {
		p := netip.MustParsePrefix(network)
		return Site{Name: name, Network: p, Gateways: gateways, Machine: machine, Address: nth(p, 10).Addr()}
	}
	return []Site{
		site(shop, "10.10.0.0/24", "till", shop),
		site(warehouse, "10.20.0.0/24", "erp", "wh-gw1", "wh-gw2"),
		site(accounting, "10.30.0.0/24", "ledger", accounting),
	}
}

// nth is the address of that number in a network, which has room for it.
func nth(network netip.Prefix, n int) netip.Prefix {
	a := network.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return netip.PrefixFrom(a, network.Bits())
}

// router is the address of its LAN to which a machine sends what is for others. Where a site has several gateways, the
// one that acts has it.
func (s *Site) router() netip.Addr { return nth(s.Network, 1).Addr() }

// shared reports whether the address of the router moves between gateways.
func (s *Site) shared() bool { return len(s.Gateways) > 1 }

// topology is the lab of the company.
func topology(programs string) lab.Topology {
	t := lab.Topology{Bin: programs, Hosts: []lab.HostSpec{{Name: lab.DefaultController}}}
	for _, s := range company() {
		t.LANs = append(t.LANs, s.Name)
		first := 1
		if s.shared() {
			first = 2
		}
		for i, name := range s.Gateways {
			t.Hosts = append(t.Hosts, lab.HostSpec{Name: name, Site: s.Name, LAN: lab.LANLink{
				Segment: s.Name, Addresses: []netip.Prefix{nth(s.Network, first+i)},
			}})
		}
		t.Hosts = append(t.Hosts, lab.HostSpec{Name: s.Machine, LAN: lab.LANLink{
			Segment: s.Name, Addresses: []netip.Prefix{netip.PrefixFrom(s.Address, s.Network.Bits())}, Only: true,
			Via: []netip.Addr{s.router()},
		}})
	}
	return t
}

// site is the one of that name.
func (d *demo) site(name string) *Site {
	for i := range d.report.Sites {
		if d.report.Sites[i].Name == name {
			return &d.report.Sites[i]
		}
	}
	return nil
}

// join gives each site its network and its gateways, as an operator does.
func (d *demo) join(ctx context.Context) error {
	for i := range d.report.Sites {
		s := &d.report.Sites[i]
		args := []string{"site", "add", s.Name, "--prefix", s.Network.String()}
		for _, name := range s.Gateways {
			args = append(args, "--gateway", name)
		}
		if s.shared() {
			args = append(args, "--virtual-ip", s.router().String())
		}
		d.options.Progress(fmt.Sprintf("%s: warren %s", lab.DefaultController, strings.Join(args, " ")))
		if out, err := d.mesh.Warren(ctx, lab.DefaultController, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("joining the site %s: %v\n%s", s.Name, err, out)
		}
	}
	return nil
}
