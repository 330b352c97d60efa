package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// healsWithin is how long anything of ours may be gone.
const healsWithin = 5 * time.Second

// TestWhatOthersBreakHeals breaks everything that is ours on a host, one thing after the other, under traffic. Each is
// back within five seconds, counted under its name and told, and nothing else on the host has changed.
func TestWhatOthersBreakHeals(t *testing.T) {
	m := newMesh(t, "shop", "warehouse")
	shop := m.lab.Host("shop")
	furnish(t, shop)
	for _, name := range []string{"shop", "warehouse"} {
		if err := m.Enrol(m.patient(), name, name); err != nil {
			t.Fatal(err)
		}
	}
	m.allUp(1)
	name := m.status("shop").Interfaces[0].Name
	tr := flow(t, shop, m.lab.Host("warehouse"), m.status("warehouse").Address)
	tr.more(50)
	before, tunnel := settledSnapshot(t, shop), tunnelOf(t, shop, name)
	for _, c := range breakages() {
		if c.needs != "" {
			if _, err := exec.LookPath(c.needs); err != nil {
				t.Logf("%s: skipped, there is no %s", c.name, c.needs)
				continue
			}
		}
		t.Run(c.name, func(t *testing.T) {
			m := m.in(t)
			count := m.restored("shop", c.kind)
			if err := shop.Do(func() error { return c.do(name) }); err != nil {
				t.Fatal(err)
			}
			broken := time.Now()
			// Without a question to the agent, which would make it look.
			until(t, healsWithin, "all is back", func() bool {
				return withoutIndex(snapshot(t, shop)) == withoutIndex(before) && tunnelOf(t, shop, name) == tunnel
			})
			t.Logf("back after %v", time.Since(broken))
			until(t, healsWithin, "it is counted under its name", func() bool { return m.restored("shop", c.kind) > count })
			tr.more(10)
			t.Logf("traffic after %v", time.Since(broken))
			// Its exit code may tell of a peer that has not answered yet.
			if out, _, _ := m.run("shop", "status"); !strings.Contains(out, "Restored") || !strings.Contains(out, c.kind) {
				t.Errorf("status says nothing of it:\n%s", out)
			}
			if metric := fmt.Sprintf(`warren_agent_restorations_total{kind=%q} `, c.kind); !strings.Contains(m.must("shop", "metrics"), metric) {
				t.Errorf("there is no metric %s", metric)
			}
		})
	}
	if s := m.status("shop"); s.State != wire.StateOK {
		t.Errorf("afterwards: %s, %v", s.State, s.Problems)
	}
	same(t, "after all", withoutIndex(before), withoutIndex(settledSnapshot(t, shop)))
}

// restored is how often something of a kind was put back.
func (m *mesh) restored(host, kind string) int {
	m.t.Helper()
	for _, r := range m.status(host).Restored {
		if r.Kind == kind {
			return r.Count
		}
	}
	return 0
}

// withoutIndex forgets what a link of ours has by chance, its number and its link-local address, and what packets leave
// in the sets of our table.
func withoutIndex(snapshot string) string {
	chance := regexp.MustCompile(`fe80::[0-9a-f:]+/\d+ .*on wrn|/wrn.*stable_secret|elements = `)
	number := regexp.MustCompile(`link \d+ wrn`)
	var out []string
	for line := range strings.Lines(snapshot) {
		if !chance.MatchString(line) {
			out = append(out, number.ReplaceAllString(line, "link N wrn"))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "")
}

// tunnelOf is what the agent has set of a tunnel, without what is WireGuard's own.
func tunnelOf(t testing.TB, h *lab.Host, name string) (text string) {
	t.Helper()
	if err := h.Do(func() error {
		return withDevice(name, func(_ *wgctrl.Client, d *wgtypes.Device) error {
			text = fmt.Sprintf("%v port %d", d.PublicKey, d.ListenPort)
			for _, p := range d.Peers {
				text += fmt.Sprintf("\n%v %v %v %v", p.PublicKey, p.PresharedKey, p.PersistentKeepaliveInterval, sorted(p.AllowedIPs))
			}
			return nil
		})
	}); err != nil {
		return err.Error() // it is being made anew
	}
	return text
}

func sorted(list []net.IPNet) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = list[i].String()
	}
	slices.Sort(out)
	return out
}

func withDevice(name string, do func(*wgctrl.Client, *wgtypes.Device) error) error {
	client, err := wgctrl.New()
	if err != nil {
		return err
	}
	defer client.Close()
	device, err := client.Device(name)
	if err != nil {
		return err
	}
	return do(client, device)
}

// settledSnapshot waits until what the kernel does by itself is done.
func settledSnapshot(t testing.TB, h *lab.Host) (last string) {
	t.Helper()
	until(t, patience, "the network of "+h.Name()+" settles", func() bool {
		now := snapshot(t, h)
		settled := now == last
		last = now
		return settled
	})
	return last
}

// A breakage is what somebody does to what is ours.
type breakage struct {
	name, kind, needs string
	do                func(link string) error
}

func breakages() []breakage {
	return []breakage{
		{"link deleted", peers.UndoneLink, "", onLink(netlink.LinkDel)},
		{"link down", peers.UndoneDown, "", onLink(netlink.LinkSetDown)},
		{"MTU", peers.UndoneMTU, "", onLink(func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1290) })},
		{"IPv4 address", peers.UndoneAddress, "", func(link string) error { return deleteAddresses(link, netlink.FAMILY_V4) }},
		{"IPv6 address", peers.UndoneAddress, "", func(link string) error { return deleteAddresses(link, netlink.FAMILY_V6) }},
		{"IPv4 routes", peers.UndoneRoute, "", func(string) error { return deleteRoutes(netlink.FAMILY_V4) }},
		{"IPv6 routes", peers.UndoneRoute, "", func(string) error { return deleteRoutes(netlink.FAMILY_V6) }},
		{"flushed rules", peers.UndoneGuard, "nft", func(string) error { return deleteTable() }},
		{"listen port", peers.UndonePort, "", setDevice(func(d *wgtypes.Device) wgtypes.Config {
			port := d.ListenPort + 1000
			return wgtypes.Config{ListenPort: &port}
		})},
		{"private key", peers.UndoneKey, "", setDevice(func(*wgtypes.Device) wgtypes.Config {
			k, _ := wgtypes.GeneratePrivateKey()
			return wgtypes.Config{PrivateKey: &k}
		})},
		{"peer removed", peers.UndonePeer, "", setPeer(func(p *wgtypes.PeerConfig) { p.Remove = true })},
		{"keepalive off", peers.UndonePeer, "", setPeer(func(p *wgtypes.PeerConfig) { p.PersistentKeepaliveInterval = new(time.Duration) })},
		{"allowed IPs", peers.UndonePeer, "", setPeer(func(p *wgtypes.PeerConfig) { p.ReplaceAllowedIPs = true })},
		{"pre-shared key", peers.UndonePeer, "", setPeer(func(p *wgtypes.PeerConfig) { p.PresharedKey = &wgtypes.Key{1} })},
		{"a stranger", peers.UndonePeer, "", setDevice(func(*wgtypes.Device) wgtypes.Config {
			return wgtypes.Config{Peers: []wgtypes.PeerConfig{{PublicKey: wgtypes.Key{7}}}}
		})},
	}
}

func onLink(do func(netlink.Link) error) func(string) error {
	return func(name string) error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return do(link)
	}
}

func deleteAddresses(name string, family int) error {
	return onLink(func(link netlink.Link) error {
		all, err := netlink.AddrList(link, family)
		for i := range all {
			if err == nil && !all[i].IP.IsLinkLocalUnicast() {
				err = netlink.AddrDel(link, &all[i])
			}
		}
		return err
	})(name)
}

func deleteRoutes(family int) error {
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{Protocol: peers.RouteProtocol}, netlink.RT_FILTER_PROTOCOL)
	for i := range routes {
		if err == nil {
			err = netlink.RouteDel(&routes[i])
		}
	}
	return err
}

func deleteTable() error {
	out, err := exec.Command("nft", "delete", "table", "inet", peers.GuardTable).CombinedOutput()
	if err != nil {
		return fmt.Errorf("nft: %v: %s", err, out)
	}
	return nil
}

func setDevice(change func(*wgtypes.Device) wgtypes.Config) func(string) error {
	return func(name string) error {
		return withDevice(name, func(client *wgctrl.Client, d *wgtypes.Device) error {
			return client.ConfigureDevice(name, change(d))
		})
	}
}

func setPeer(change func(*wgtypes.PeerConfig)) func(string) error {
	return setDevice(func(d *wgtypes.Device) wgtypes.Config {
		p := wgtypes.PeerConfig{PublicKey: d.Peers[0].PublicKey, UpdateOnly: true}
		change(&p)
		return wgtypes.Config{Peers: []wgtypes.PeerConfig{p}}
	})
}
