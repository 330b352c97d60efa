package e2e

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/lab/labtest"
	"github.com/warren-mesh/warren/cmd/internal/tap"
	"github.com/warren-mesh/warren/peers"
)

// lanMesh has a shop and a warehouse, each with a LAN behind it: the till on the floor, the ERP in the stock. Networks
// are those of the LANs, IPv4 and IPv6, where the gateways are .2, the till is .7 and the ERP is .9.
func lanMesh(t *testing.T, floor, stock [2]string, others ...string) *mesh {
	t.Helper()
	bin, err := filepath.Abs("../../../bin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(networks [2]string, host int) (out []netip.Prefix) {
		for _, text := range networks {
			p := netip.MustParsePrefix(text)
			a := p.Addr()
			for range host {
				a = a.Next()
			}
			out = append(out, netip.PrefixFrom(a, p.Bits()))
		}
		return out
	}
	via := func(networks [2]string) (out []netip.Addr) {
		for _, p := range at(networks, 2) {
			out = append(out, p.Addr())
		}
		return out
	}
	topology := lab.Topology{Bin: bin, LANs: []string{"floor", "stock"}, Hosts: []lab.HostSpec{
		{Name: lab.DefaultController},
		{Name: "shop", LAN: lab.LANLink{Segment: "floor", Addresses: at(floor, 2)}},
		{Name: "warehouse", LAN: lab.LANLink{Segment: "stock", Addresses: at(stock, 2)}},
		{Name: "till", LAN: lab.LANLink{Segment: "floor", Addresses: at(floor, 7), Only: true, Via: via(floor)}},
		{Name: "erp", LAN: lab.LANLink{Segment: "stock", Addresses: at(stock, 9), Only: true, Via: via(stock)}},
	}}
	for _, name := range others {
		topology.Hosts = append(topology.Hosts, lab.HostSpec{Name: name})
	}
	l := labtest.New(t, topology)
	m := &mesh{t: t, lab: l}
	if m.Mesh, err = lab.StartMesh(m.patient(), l, lab.MeshOptions{Progress: func(line string) { t.Log(line) }}); err != nil {
		t.Fatal(err)
	}
	m.allUp(1 + len(others))
	forwardIPv6(t, l, "shop", "warehouse")
	return m
}

// mirror has a host tell who asks at a port, on all its addresses, until the test is over.
func (m *mesh) mirror(host string, port int) {
	m.t.Helper()
	serve(m.t, m.lab.Host(host), ":"+strconv.Itoa(port), func(c net.Conn) {
		from, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		_, _ = io.WriteString(c, from)
		_ = c.Close()
	})
}

// asks is who a host is to another one, at whose port it asks; "" where it does not get there.
func (m *mesh) asks(from, address string, port int) string {
	m.t.Helper()
	seen := ""
	_ = m.lab.Host(from).Do(func() error {
		d := net.Dialer{Timeout: time.Second}
		c, err := d.DialContext(m.t.Context(), "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Second))
		raw, err := io.ReadAll(c)
		seen = string(raw)
		return err
	})
	return seen
}

// isTo waits until a host is somebody to another one.
func (m *mesh) isTo(from, address string, port int, want string) {
	m.t.Helper()
	until(m.t, patience, fmt.Sprintf("%s asks at %s and is %s there", from, address, want), func() bool {
		return m.asks(from, address, port) == want
	})
}

// setting reads a setting of the kernel on a host; it is empty where the kernel has none of that name.
func (m *mesh) setting(host, name string) (value string) {
	m.t.Helper()
	if err := m.lab.Host(host).Do(func() error {
		raw, err := os.ReadFile("/proc/sys/net/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		value = strings.TrimSpace(string(raw))
		return err
	}); err != nil {
		m.t.Fatalf("%s on %s: %v", name, host, err)
	}
	return value
}

// sysctl has somebody else change a setting.
func (m *mesh) sysctl(host, setting string) {
	m.t.Helper()
	if out, err := m.lab.Host(host).Command(m.patient(), "sysctl", "-w", "net."+setting).CombinedOutput(); err != nil {
		m.t.Fatalf("sysctl %s on %s: %v\n%s", setting, host, err, out)
	}
}

// lanSettings are those of a gateway's link to the LAN that Warren changes.
func (m *mesh) lanSettings(host string) string {
	m.t.Helper()
	var out []string
	for _, name := range []string{
		"ipv4/conf/lan0/forwarding", "ipv6/conf/lan0/force_forwarding", "ipv4/conf/lan0/tag", "ipv4/ip_forward", "ipv6/conf/all/forwarding",
		"ipv4/conf/eth0/forwarding", "ipv6/conf/eth0/force_forwarding", "ipv4/conf/eth0/tag",
	} {
		out = append(out, name+"="+m.setting(host, name))
	}
	return strings.Join(out, " ")
}

// TestLANToLAN: hosts behind gateways talk to each other with their own addresses, IPv4 and IPv6, inside the tunnel
// alone; with SNAT they are the gateway. What a gateway has changed on its host is as it was when it is none any more.
func TestLANToLAN(t *testing.T) {
	m := lanMesh(t, [2]string{"10.10.0.0/24", "fd10::/64"}, [2]string{"10.20.0.0/24", "fd20::/64"})
	// Strict filters on the LAN and for all links: those of the tunnels are loose by themselves, and the higher one counts.
	for _, host := range []string{"shop", "warehouse"} {
		m.sysctl(host, "ipv4.conf.all.rp_filter=1")
		m.sysctl(host, "ipv4.conf.lan0.rp_filter=1")
	}
	was := map[string]string{"shop": m.lanSettings("shop"), "warehouse": m.lanSettings("warehouse")}
	m.mirror("erp", 5432)
	m.mirror("till", 8000)
	if seen := m.asks("till", "10.20.0.9", 5432); seen != "" {
		t.Fatalf("without a mesh between them the till is %s to the ERP: this test sees nothing", seen)
	}
	admin := lab.DefaultController
	m.must(admin, "site", "add", "shop", "--prefix", "10.10.0.0/24", "--prefix", "fd10::/64", "--gateway", "shop")
	m.must(admin, "site", "add", "warehouse", "--prefix", "10.20.0.0/24", "--prefix", "fd20::/64", "--gateway", "warehouse")
	m.isTo("till", "10.20.0.9", 5432, "10.10.0.7")
	watch, err := tap.Open(tap.Options{
		Links: []string{"shop", "warehouse"}, WireGuard: []uint16{51820, 51821},
		Controller: []netip.AddrPort{netip.AddrPortFrom(m.lab.Host(lab.DefaultController).IPv4(), 7443)},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.isTo("till", "10.20.0.9", 5432, "10.10.0.7")
	m.isTo("till", "fd20::9", 5432, "fd10::7")
	m.isTo("erp", "10.10.0.7", 8000, "10.20.0.9")
	m.isTo("erp", "fd10::7", 8000, "fd20::9")
	m.isTo("shop", "10.20.0.9", 5432, m.status("shop").Address.String())
	if out := m.must("warehouse", "doctor", "-o", "json"); !strings.Contains(out, "forwards between the mesh and [10.20.0.0/24 fd20::/64]") {
		t.Errorf("doctor does not say that the gateway forwards:\n%s", out)
	}
	report, err := watch.Close()
	if err != nil {
		t.Fatal(err)
	}
	if n := report.Total().Packets.Other; n != 0 {
		t.Errorf("%d packets outside of the tunnel\n%v", n, report)
	}

	m.must(admin, "site", "set", "warehouse", "--prefix", "10.20.0.0/24", "--snat", "--prefix", "fd20::/64", "--snat")
	m.isTo("till", "10.20.0.9", 5432, "10.20.0.2")
	m.isTo("till", "fd20::9", 5432, "fd20::2")
	m.isTo("erp", "10.10.0.7", 8000, "10.20.0.9")

	for _, host := range []string{"shop", "warehouse"} {
		if now := m.lanSettings(host); now == was[host] {
			t.Fatalf("%s forwards with the settings that it had before: %s", host, now)
		}
	}
	// Somebody turns forwarding off for the whole host; on the LAN's link it comes back.
	forwarding := m.lanSettings("warehouse")
	off := []string{"ipv4.ip_forward=0", "ipv4.conf.lan0.forwarding=0"}
	if m.setting("warehouse", "ipv6/conf/lan0/force_forwarding") != "" {
		off = append(off, "ipv6.conf.lan0.force_forwarding=0")
	}
	for _, name := range off {
		m.sysctl("warehouse", name)
	}
	until(t, 5*time.Second, "the warehouse forwards again", func() bool { return m.lanSettings("warehouse") == forwarding })
	m.must(admin, "site", "set", "warehouse", "--no-gateways")
	m.isAsBefore("warehouse", was["warehouse"])
	m.must(admin, "site", "set", "warehouse", "--gateway", "warehouse")
	m.isTo("till", "10.20.0.9", 5432, "10.20.0.2")
	// An agent that was killed has left what it had set; the program that cleans up needs nothing of it but the kernel.
	if err := m.Agent("warehouse").Kill(); err != nil {
		t.Fatal(err)
	}
	if out, err := m.lab.Host("warehouse").Command(m.patient(), "warren-agent", "clean").CombinedOutput(); err != nil {
		t.Fatalf("warren-agent clean: %v\n%s", err, out)
	}
	m.isAsBefore("warehouse", was["warehouse"])
	m.must(admin, "site", "set", "shop", "--no-gateways")
	m.isAsBefore("shop", was["shop"])
	m.must(admin, "site", "set", "shop", "--gateway", "shop")
	until(t, patience, "the shop forwards again", func() bool { return m.lanSettings("shop") != was["shop"] })
	m.must("shop", "leave", "--force")
	m.isAsBefore("shop", was["shop"])
}

func (m *mesh) isAsBefore(host, was string) {
	m.t.Helper()
	until(m.t, patience, host+" has the settings that it had before: "+was, func() bool { return m.lanSettings(host) == was })
}

// TestLANAfterReboot: a gateway comes back after a power failure while the controller is dead, and its LAN talks to the
// other one again.
func TestLANAfterReboot(t *testing.T) {
	m := lanMesh(t, [2]string{"192.168.1.0/24", "fd01::/64"}, [2]string{"10.20.0.0/24", "fd20::/64"})
	admin := lab.DefaultController
	m.mirror("erp", 5432)
	m.mirror("till", 8000)
	m.must(admin, "site", "add", "shop", "--prefix", "192.168.1.0/24", "--as", "10.61.1.0/24", "--gateway", "shop")
	m.must(admin, "site", "add", "warehouse", "--prefix", "10.20.0.0/24", "--prefix", "fd20::/64", "--gateway", "warehouse")
	m.isTo("till", "10.20.0.9", 5432, "10.61.1.7")
	if err := m.Controller().Kill(); err != nil {
		t.Fatal(err)
	}
	if err := m.lab.Host("shop").Reboot(); err != nil {
		t.Fatal(err)
	}
	if seen := m.asks("till", "10.20.0.9", 5432); seen != "" {
		t.Fatalf("without an agent the till is %s to the ERP", seen)
	}
	// Other than a real host's, the link of one in the lab comes back with another hardware address.
	if out, err := m.lab.Host("till").Command(m.patient(), "ip", "neigh", "flush", "all").CombinedOutput(); err != nil {
		t.Fatalf("ip neigh flush: %v\n%s", err, out)
	}
	start := time.Now()
	if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
		t.Fatal(err)
	}
	m.isTo("till", "10.20.0.9", 5432, "10.61.1.7")
	t.Logf("LAN to LAN %.1f s after the agent's start", time.Since(start).Seconds())
	m.isTo("erp", "10.61.1.7", 8000, "10.20.0.9")
}

// TestAliases: two sites have the same networks, and their hosts talk to each other by aliases, in both directions.
// The policy speaks of aliases, too.
func TestAliases(t *testing.T) {
	same := [2]string{"192.168.1.0/24", "fd01::/64"}
	m := lanMesh(t, same, same, "accounting")
	admin := lab.DefaultController
	m.mirror("erp", 5432)
	m.mirror("erp", 5433)
	m.mirror("till", 8000)
	f := m.fails(admin, "site", "add", "shop", "--prefix", "192.168.1.0/24", "--gateway", "shop")
	if !strings.Contains(f.Message, `host "warehouse"`) || !strings.Contains(f.Message, "192.168.1.2") || !strings.Contains(f.Hint, "--as") {
		t.Errorf("a network in which another site's host lives: %+v", f)
	}
	m.must(admin, "site", "add", "shop", "--prefix", "192.168.1.0/24", "--as", "10.61.1.0/24",
		"--prefix", "fd01::/64", "--as", "fd61::/64", "--gateway", "shop")
	f = m.fails(admin, "site", "add", "warehouse", "--prefix", "192.168.1.0/24", "--gateway", "warehouse")
	if !strings.Contains(f.Message, `"warehouse"`) || !strings.Contains(f.Message, `"shop"`) || !strings.Contains(f.Hint, "--as") {
		t.Errorf("two sites with one network: %+v", f)
	}
	m.must(admin, "site", "add", "warehouse", "--prefix", "192.168.1.0/24", "--as", "10.61.2.0/24",
		"--prefix", "fd01::/64", "--as", "fd62::/64", "--gateway", "warehouse")
	m.isTo("till", "10.61.2.9", 5432, "10.61.1.7")
	m.isTo("till", "fd62::9", 5432, "fd61::7")
	m.isTo("erp", "10.61.1.7", 8000, "10.61.2.9")
	m.isTo("erp", "fd61::7", 8000, "fd62::9")
	m.isTo("accounting", "10.61.2.9", 5432, m.status("accounting").Address.String())
	if seen := m.asks("accounting", "192.168.1.9", 5432); seen != "" {
		t.Errorf("accounting reaches 192.168.1.9 as %s: of whom?", seen)
	}

	// What a LAN host sends to the alias of its own site goes nowhere, not to the internet.
	if n := m.floodBehind("till", "shop", netip.MustParseAddrPort("10.61.1.99:5432")); n != 0 {
		t.Errorf("%d packets for an alias left in plain text", n)
	}

	policy := "flows:\n  - {from: site:shop, to: 10.61.2.0/24, allow: tcp/5432}\n  - {from: site:shop, to: fd62::/64, allow: tcp/5432}\n"
	m.applied(m.policy(policy).Revision)
	until(t, patience, "the till does not get to another port", func() bool { return m.asks("till", "10.61.2.9", 5433) == "" })
	m.isTo("till", "10.61.2.9", 5432, "10.61.1.7")
	m.isTo("till", "fd62::9", 5432, "fd61::7")
	m.must(admin, "site", "set", "warehouse", "--prefix", "192.168.1.0/24", "--as", "10.61.2.0/24", "--snat")
	m.isTo("till", "10.61.2.9", 5432, "192.168.1.2")
	until(t, patience, "the ERP does not ask the till", func() bool { return m.asks("erp", "10.61.1.7", 8000) == "" })
	until(t, patience, "accounting does not get there", func() bool { return m.asks("accounting", "10.61.2.9", 5432) == "" })

	m.withoutGuard("shop")
	until(t, patience, "without the guard packets for an alias are seen: else this test sees nothing", func() bool {
		return m.floodBehind("till", "shop", netip.MustParseAddrPort("10.61.1.99:5432")) > 0
	})
}

// TestForwardedLeak has a LAN host flood the LAN of another site, also by the alias of one, while the gateway's tunnel is
// deleted and its agent dead. Nothing leaves in plain text; without the guard it does.
func TestForwardedLeak(t *testing.T) {
	m := lanMesh(t, [2]string{"10.10.0.0/24", "fd10::/64"}, [2]string{"10.20.0.0/24", "fd20::/64"})
	admin := lab.DefaultController
	m.mirror("erp", 5432)
	m.must(admin, "site", "add", "shop", "--prefix", "10.10.0.0/24", "--prefix", "fd10::/64", "--gateway", "shop")
	m.must(admin, "site", "add", "warehouse", "--prefix", "10.20.0.0/24", "--prefix", "fd20::/64",
		"--prefix", "192.168.7.0/24", "--as", "10.61.7.0/24", "--gateway", "warehouse")
	m.isTo("till", "10.20.0.9", 5432, "10.10.0.7")
	m.isTo("till", "fd20::9", 5432, "fd10::7")
	name := m.status("shop").Interfaces[0].Name
	if err := m.Agent("shop").Kill(); err != nil {
		t.Fatal(err)
	}
	if err := m.lab.Host("shop").Do(func() error {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkDel(l)
		}
		if err == nil {
			err = removeOurRoutes()
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	targets := []netip.AddrPort{
		netip.MustParseAddrPort("10.20.0.9:5432"), netip.MustParseAddrPort("[fd20::9]:5432"), netip.MustParseAddrPort("10.61.7.9:5432"),
	}
	for _, to := range targets {
		if n := m.floodBehind("till", "shop", to); n != 0 {
			t.Errorf("%d packets to %v left in plain text", n, to)
		}
	}
	if counted := m.nft("shop", "list", "counter", "inet", "warren", peers.CounterLeaked); strings.Contains(counted, "packets 0 ") {
		t.Errorf("what was dropped is not counted:\n%s", counted)
	}
	m.nft("shop", "delete", "table", "inet", "warren")
	for _, to := range targets {
		until(t, patience, fmt.Sprintf("without the guard packets to %v are seen: else this test sees nothing", to), func() bool {
			return m.floodBehind("till", "shop", to) > 0
		})
	}
}
