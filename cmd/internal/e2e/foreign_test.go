package e2e

import (
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/agent/linux/nettest"
)

// TestForeignFirewalls has the firewalls of others on a gateway, as they come and as an operator opens them for the
// mesh. Where one stops what the gateway forwards, doctor says which; and whatever happens to our rules, theirs stay.
func TestForeignFirewalls(t *testing.T) {
	m := startLANs(t)
	for _, c := range []struct {
		rules, chain string // that stops LAN to LAN traffic; empty for none
		tables       []string
	}{
		{"firewalld.nft", "table inet firewalld, chain filter_FWD_public, by a rule", []string{"inet firewalld"}},
		{"firewalld-open.nft", "", []string{"inet firewalld"}},
		{"docker.iptables", "table ip filter, chain FORWARD, by its policy", []string{"ip filter", "ip nat"}},
		{"docker-open.iptables", "", []string{"ip filter", "ip nat"}},
		{"ufw.iptables", "table ip filter, chain FORWARD, by its policy", []string{"ip filter"}},
	} {
		t.Run(c.rules, func(t *testing.T) {
			m := m.in(t)
			m.loadForeign(c.rules)
			defer func() {
				for _, table := range c.tables {
					m.nft("shop", append([]string{"delete", "table"}, strings.Fields(table)...)...)
				}
			}()
			before := m.foreign(c.tables)
			to := m.lab.Host(warehouseLAN.machine)
			f := pour(t, m.lab.Host(shopLAN.machine), to, netip.AddrPortFrom(warehouseLAN.machine4, 5432), "order")
			defer f.end()
			if c.chain == "" {
				f.more(t)
			}
			floods{f}.sendOn(t, 100)
			if got := m.firewallFindings("shop"); c.chain != strings.Join(got, "; ") {
				t.Errorf("doctor says %q of what is forwarded, want %q", got, c.chain)
			}
			if got := f.arrived.Load(); c.chain != "" && got > 0 {
				t.Errorf("%d packets arrive: nothing stops them", got)
			}
			m.policy("flows:\n  - {from: site:shop, to: site:warehouse, allow: [udp/5432, icmp]}\n")
			m.killAgent("shop")
			m.agentAgain()
			m.nft("shop", "delete", "table", "inet", "warren")
			until(t, patience, "the guard is back", m.guardThere)
			if after := m.foreign(c.tables); after != before {
				t.Errorf("somebody else's rules were\n%s\nand are\n%s", before, after)
			}
		})
	}
}

// loadForeign loads the rules of a firewall on the shop.
func (m *mesh) loadForeign(name string) {
	m.t.Helper()
	text, argv := nettest.Rules(m.t, name)
	if _, err := exec.LookPath(argv[0]); err != nil {
		m.t.Skipf("%s is not installed; try: apt-get install nftables iptables", argv[0])
	}
	cmd := m.lab.Host("shop").Command(m.patient(), argv...)
	cmd.Stdin = text
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

// foreign are tables of the shop without what packets change.
func (m *mesh) foreign(tables []string) (out string) {
	m.t.Helper()
	for _, table := range tables {
		out += m.nft("shop", append([]string{"list", "table"}, strings.Fields(table)...)...)
	}
	return regexp.MustCompile(`packets \d+ bytes \d+`).ReplaceAllString(out, "")
}

// firewallFindings are where doctor says that forwarded packets are dropped, each place once.
func (m *mesh) firewallFindings(host string) (places []string) {
	m.t.Helper()
	for _, f := range m.doctor(host) {
		_, place, found := strings.Cut(f.Message, "is dropped in ")
		if f.Check == "firewall" && found && !strings.Contains(strings.Join(places, "; "), place) {
			places = append(places, place)
		}
	}
	return places
}
