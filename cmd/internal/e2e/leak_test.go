package e2e

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// floods are those of a machine on the shop's LAN and of the shop itself, to the warehouse's LAN, in both families.
type floods []*flood

func (m *mesh) pourAll() floods {
	m.t.Helper()
	var all floods
	erp := m.lab.Host(warehouseLAN.machine)
	for _, from := range []string{shopLAN.machine, shopLAN.gateway} {
		for _, at := range []netip.Addr{warehouseLAN.machine4, warehouseLAN.machine6} {
			port := netip.AddrPortFrom(at, uint16(5432+len(all)))
			all = append(all, pour(m.t, m.lab.Host(from), erp, port, "order "+rand.Text()))
		}
	}
	return all
}

func (all floods) more(t testing.TB) {
	t.Helper()
	for _, f := range all {
		f.more(t)
	}
}

func (all floods) end() {
	for _, f := range all {
		f.end()
	}
}

// sendOn waits until each has sent so many more.
func (all floods) sendOn(t testing.TB, n int64) {
	t.Helper()
	for _, f := range all {
		have := f.sent.Load()
		until(t, patience, f.name+" sends", func() bool { return f.sent.Load() >= have+n })
	}
}

// during counts, for each flood, the packets that are seen in plain text on the shop's link while something is done.
func (m *mesh) during(all floods, do func()) map[string]int {
	m.t.Helper()
	var ends []func()
	seen := map[string]int{}
	for _, f := range all {
		plain := m.watchPlain(f.text, "shop")
		ends = append(ends, func() { seen[f.name] = plain().Content })
	}
	do()
	for _, end := range ends {
		end()
	}
	return seen
}

// tearDown deletes the tunnel of the shop and all routes of ours, the unreachable ones too.
func (m *mesh) tearDown() {
	m.t.Helper()
	if err := m.lab.Host("shop").Do(func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			if strings.HasPrefix(l.Attrs().Name, "wrn") {
				err = errors.Join(err, netlink.LinkDel(l))
			}
		}
		routes, listed := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: 119}, netlink.RT_FILTER_PROTOCOL)
		for i := range routes {
			_ = netlink.RouteDel(&routes[i]) // the agent may be changing them
		}
		return errors.Join(err, listed)
	}); err != nil {
		m.t.Fatal(err)
	}
}

// TestNothingLeaks floods the warehouse's LAN from the shop's and from the shop itself, while all kinds of things happen
// to the shop. Nothing of it may be seen in plain text on the internet; with the guard off, all of it is.
func TestNothingLeaks(t *testing.T) {
	m := startLANs(t)
	for _, c := range []struct {
		name   string
		happen func(t *testing.T, m *mesh, all floods)
	}{
		{"tunnel deleted", func(t *testing.T, m *mesh, all floods) {
			for range 5 {
				m.tearDown()
				all.more(t)
			}
		}},
		{"agent killed", func(t *testing.T, m *mesh, all floods) {
			m.killAgent("shop")
			all.more(t)
			m.tearDown()
			all.sendOn(t, 200)
		}},
		{"controller dead", func(t *testing.T, m *mesh, all floods) {
			if err := m.Controller().Kill(); err != nil {
				t.Fatal(err)
			}
			m.tearDown()
			all.more(t)
			m.killAgent("shop")
			m.tearDown()
			m.agentAgain()
			all.more(t)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := m.in(t)
			all := m.pourAll()
			defer all.end()
			all.more(t)
			for name, n := range m.during(all, func() { c.happen(t, m, all) }) {
				if n != 0 {
					t.Errorf("%s: %d packets were seen in plain text", name, n)
				}
			}
			m.leaksWithoutGuard(t, all)
			m.agentAgain()
			all.more(t)
		})
	}
}

func (m *mesh) killAgent(host string) {
	m.t.Helper()
	if err := m.Agent(host).Kill(); err != nil {
		m.t.Fatal(err)
	}
}

// agentAgain starts the shop's agent, whether or not the controller lives.
func (m *mesh) agentAgain() {
	m.t.Helper()
	if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
		m.t.Fatal(err)
	}
}

// leaksWithoutGuard is the negative control: the same with the table gone, which nobody may put back.
func (m *mesh) leaksWithoutGuard(t *testing.T, all floods) {
	t.Helper()
	m.withoutGuard("shop")
	for name, n := range m.during(all, func() {
		m.tearDown()
		all.sendOn(t, 200)
	}) {
		if n == 0 {
			t.Errorf("%s: without the guard nothing is seen either: this test sees nothing", name)
		}
	}
}

// TestLeaksAreCounted: what was kept in is in warren flows, for packets of the host and of those behind it.
func TestLeaksAreCounted(t *testing.T) {
	m := startLANs(t)
	all := m.pourAll()
	defer all.end()
	all.more(t)
	before := m.droppedBy("shop", peers.CounterLeaked)
	m.killAgent("shop")
	m.tearDown()
	all.sendOn(t, 100)
	m.agentAgain()
	all.more(t)
	if n := m.droppedBy("shop", peers.CounterLeaked) - before; n < uint64(100*len(all))/2 {
		t.Errorf("%d packets were counted, of %d and more", n, 100*len(all))
	}
}

// TestNothingLeaksAtBoot reboots the shop. Its network is there before its guard, which is not so on a real host: there
// the guard's unit comes first. What leaves until then is the negative control.
func TestNothingLeaksAtBoot(t *testing.T) {
	m := startLANs(t)
	shop := m.lab.Host("shop")
	until(t, patience, "the guard is on disk", func() bool {
		kept, err := os.ReadFile(shop.Path("/var/lib/warren-agent/guard"))
		return err == nil && bytes.Contains(kept, []byte(warehouseLAN.net4.Addr().String()))
	})
	if err := shop.Reboot(); err != nil {
		t.Fatal(err)
	}
	forward(t, shop)
	all := m.pourAll()
	defer all.end()
	for name, n := range m.during(all, func() { all.sendOn(t, 500) }) {
		if n == 0 {
			t.Errorf("%s: nothing is seen before the guard is there: this test sees nothing", name)
		}
	}
	if out, err := shop.Command(m.patient(), "warren-agent", "guard", "--load").CombinedOutput(); err != nil {
		t.Fatalf("warren-agent guard --load: %v\n%s", err, out)
	}
	for name, n := range m.during(all, func() {
		all.sendOn(t, 200)
		m.agentAgain()
		all.more(t)
	}) {
		if n != 0 {
			t.Errorf("%s: %d packets were seen in plain text after the guard was loaded", name, n)
		}
	}
}

// forward makes a host a router from its start, as a file in sysctl.d does.
func forward(t testing.TB, h *lab.Host) {
	t.Helper()
	if err := h.Do(func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0),
			os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	}); err != nil {
		t.Fatal(err)
	}
}

// TestFlushedRules has somebody flush all rules and, which is worse, take the tunnel and all routes away in the same
// moment. What leaves until the agent has put the guard back is exposed, and counted here.
func TestFlushedRules(t *testing.T) {
	m := startLANs(t)
	all := m.pourAll()
	defer all.end()
	all.more(t)
	for name, n := range m.during(all, func() {
		m.flushRules()
		until(t, 5*time.Second, "the guard is back", m.guardThere)
		all.more(t)
	}) {
		if n != 0 {
			t.Errorf("%s: with the tunnel there, %d packets were seen in plain text", name, n)
		}
	}
	start := time.Now()
	exposed := m.during(all, func() {
		m.flushRules()
		m.tearDown()
		until(t, 5*time.Second, "the guard is back", m.guardThere)
	})
	t.Logf("rules, tunnel and routes gone at once: the guard was back within %v, exposed until then: %v", time.Since(start), exposed)
	for name, n := range m.during(all, func() {
		m.tearDown()
		all.more(t)
	}) {
		if n != 0 {
			t.Errorf("%s: %d packets were seen in plain text after the guard was back", name, n)
		}
	}
	m.leaksWithoutGuard(t, all)
}

func (m *mesh) guardThere() (there bool) {
	m.t.Helper()
	m.nftables("shop", func(c *nftables.Conn) error {
		tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
		there = slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == peers.GuardTable })
		return err
	})
	return there
}

// flushRules does what nft flush ruleset does.
func (m *mesh) flushRules() {
	m.t.Helper()
	m.nftables("shop", func(c *nftables.Conn) error {
		c.FlushRuleset()
		return c.Flush()
	})
}

// withoutGuard takes the table of a host away, which nobody may put back.
func (m *mesh) withoutGuard(host string) {
	m.t.Helper()
	m.killAgent(host)
	m.nftables(host, func(c *nftables.Conn) error {
		c.DelTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: peers.GuardTable})
		return c.Flush()
	})
}

// nftables talks to nftables on a host. A VM that runs this has no nft(8).
func (m *mesh) nftables(host string, f func(c *nftables.Conn) error) {
	m.t.Helper()
	if err := m.lab.Host(host).Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		return f(c)
	}); err != nil {
		m.t.Fatalf("nftables on %s: %v", host, err)
	}
}

// TestLeakGuardOff switches the leak guard off, as an operator does: it says so, and what it kept in leaves.
func TestLeakGuardOff(t *testing.T) {
	m := startLANs(t)
	all := m.pourAll()
	defer all.end()
	all.more(t)
	m.killAgent("shop")
	d, err := m.lab.Host("shop").Start("open", "warren-agent", "run", "--leak-guard", "off")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Ready(m.patient()); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "the status says so", func() bool {
		s := m.status("shop")
		return s.Guard != nil && s.Guard.LeakGuard == wire.GuardOff && s.Guard.Firewall == wire.GuardOn
	})
	all.more(t)
	if err := d.Kill(); err != nil {
		t.Fatal(err)
	}
	for name, n := range m.during(all, func() {
		m.tearDown()
		all.sendOn(t, 200)
	}) {
		if n == 0 {
			t.Errorf("%s: the leak guard is off, and nothing leaves", name)
		}
	}
}
