package e2e

import (
	"errors"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// causes are those that the doctor claims to know, in an order in which one does not hinder the next.
func causes() []cause {
	const port = "51821" // of generation 1
	return []cause{{
		name: "not enrolled", make: func(*mesh) func() { return func() {} },
		says: []saying{{"clone", "enrolled", "failed", "not enrolled", "warren enroll TOKEN", nil}},
	}, {
		name: "firewall", make: (*mesh).foreignFirewall,
		says: []saying{{
			"shop", "firewall", "warning", "dropped in table inet foreign, chain strict, by a rule",
			"nft insert rule inet foreign strict udp dport " + port + " accept", nil,
		}},
	}, {
		name: "own network in the mesh's", make: (*mesh).networkInTheWay,
		says: []saying{{"accounting", "routes", "failed", "docker0", "docker0", nil}},
	}, {
		name: "name", make: (*mesh).forgetNames,
		says: []saying{{
			"shop", "dns", "warning", "the name of the controller, controller.mesh.test, does not resolve", "getent hosts controller.mesh.test", nil,
		}},
	}, {
		name: "name, and no other address", stay: true, make: (*mesh).forgetNamesAndController,
		says: []saying{
			{"shop", "dns", "failed", "controller.mesh.test, does not resolve", "getent hosts controller.mesh.test", []string{"controller"}},
			{"warehouse", "controller", "failed", "no controller answers", "does warren-controller run", nil},
		},
	}, {
		name: "clock went back", make: (*mesh).clockFromLater,
		says: []saying{{"shop", "clock", "warning", "behind what it was", "timedatectl set-ntp true", []string{"controller"}}},
	}, {
		name: "port closed, and no way", stay: true, make: (*mesh).closePort,
		says: []saying{
			{"shop", "udp/warehouse", "failed", ":" + port + ": the port is closed", "on warehouse: systemctl status warren-agent", []string{"peer/warehouse"}},
			{"accounting", "udp/warehouse", "failed", "there is no way to", "ip route get", []string{"peer/warehouse"}},
		},
	}, {
		name: "port of somebody else", make: (*mesh).takePort,
		says: []saying{{
			"warehouse", "port", "failed", "UDP port " + port + " is taken by", "ss -lunp",
			[]string{"peer/", "routes", "site-unreachable"},
		}},
	}, {
		name: "UDP blocked one way", make: (*mesh).oneWay,
		says: []saying{{
			"shop", "udp/warehouse", "failed", "UDP is blocked one way", "On warehouse: warren doctor", []string{"peer/warehouse"},
		}},
	}}
}

// on does something on a host.
func (m *mesh) on(host string, do func() error) {
	m.t.Helper()
	if err := m.lab.Host(host).Do(do); err != nil {
		m.t.Fatal(err)
	}
}

// foreignFirewall is as people write them: what the host has begun is let in.
func (m *mesh) foreignFirewall() func() {
	m.nft("shop", "table inet foreign { chain strict { type filter hook input priority 0; "+
		"ct state established,related accept; udp dport 51821 drop; }; }")
	return func() { m.nft("shop", "delete", "table", "inet", "foreign") }
}

func (m *mesh) networkInTheWay() func() {
	m.on("accounting", func() error { return addDummy("docker0", netip.MustParsePrefix("10.90.200.1/24")) })
	return func() { m.on("accounting", func() error { return onLink(netlink.LinkDel)("docker0") }) }
}

func (m *mesh) forgetNames() func() {
	path := m.lab.Host("shop").Path(hostsFile)
	names, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	put := func(content []byte) { // in place: the file is mounted elsewhere
		if err := os.WriteFile(path, content, 0o644); err != nil {
			m.t.Fatal(err)
		}
	}
	put(nil)
	return func() { put(names) }
}

func (m *mesh) forgetNamesAndController() func() {
	restore := m.forgetNames()
	if err := m.Controller().Stop(m.patient()); err != nil {
		m.t.Fatal(err)
	}
	return restore
}

// clockFromLater has the shop remember that it was later once, which is what a clock that went back looks like. The
// controller, whose clock would be believed, does not run yet.
func (m *mesh) clockFromLater() func() {
	m.killAgent("shop")
	files, err := store.Open(m.lab.Host("shop").Path(agentData))
	if err == nil {
		err = errors.Join(files.PutClock(time.Now().Add(30*24*time.Hour)), files.Close())
	}
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
		m.t.Fatal(err)
	}
	return func() {
		if _, err := m.StartController(m.patient()); err != nil {
			m.t.Error(err)
		}
	}
}

// closePort ends all that the warehouse has, and takes the way there from accounting.
func (m *mesh) closePort() func() {
	far := m.lab.Host("warehouse")
	m.killAgent("warehouse")
	if err := far.DeleteLink(m.status("shop").Interfaces[0].Name); err != nil {
		m.t.Fatal(err)
	}
	var ways []*netlink.Route
	for _, a := range addresses(far) {
		ways = append(ways, &netlink.Route{Dst: ipNet(netip.PrefixFrom(a, a.BitLen()).String()), Type: unix.RTN_UNREACHABLE})
	}
	each := func(change func(*netlink.Route) error) {
		m.on("accounting", func() (err error) {
			for _, r := range ways {
				if err == nil {
					err = change(r)
				}
			}
			return err
		})
	}
	each(netlink.RouteAdd)
	return func() { each(netlink.RouteDel) }
}

// addresses are those of a host on the internet.
func addresses(h *lab.Host) (out []netip.Addr) {
	for _, a := range []netip.Addr{h.IPv4(), h.IPv6()} {
		if a.IsValid() {
			out = append(out, a)
		}
	}
	return out
}

// takePort has somebody at the port of the warehouse as its agent starts.
func (m *mesh) takePort() func() {
	taker := listenUDP(m.t, m.lab.Host("warehouse"), 51821)
	if _, err := m.StartAgent(m.patient(), "warehouse"); err != nil {
		m.t.Fatal(err)
	}
	return func() { _ = taker.Close() }
}

// oneWay drops what goes from the shop to the warehouse, and nothing that comes from there. Both begin anew, as a session
// that they have would last for minutes.
func (m *mesh) oneWay() func() {
	near, far := m.lab.Host("shop"), m.lab.Host("warehouse")
	link := m.status("shop").Interfaces[0].Name
	each := func(change func(netip.Prefix) error) {
		for _, a := range addresses(far) {
			if err := change(netip.PrefixFrom(a, a.BitLen())); err != nil {
				m.t.Error(err)
			}
		}
	}
	each(near.Block)
	for _, h := range []*lab.Host{near, far} {
		if err := h.DeleteLink(link); err != nil {
			m.t.Fatal(err)
		}
	}
	return func() { each(near.Unblock) }
}
