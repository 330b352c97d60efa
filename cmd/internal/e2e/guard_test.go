package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/tap"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// nft runs nft(8) on a host.
func (m *mesh) nft(host string, args ...string) string {
	m.t.Helper()
	out, err := m.lab.Host(host).Command(m.patient(), append([]string{"nft"}, args...)...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("nft %v on %s: %v\n%s", args, host, err, out)
	}
	return string(out)
}

// flood sends datagrams from a host to an address of the mesh, and counts what leaves its link that is no tunnel's.
func (m *mesh) flood(from string, to netip.AddrPort) (left int) {
	m.t.Helper()
	return m.floodBehind(from, from, to)
}

// floodBehind sends datagrams from a host, of a LAN perhaps, and counts what leaves a gateway's link to the internet
// that is no tunnel's.
func (m *mesh) floodBehind(from, gateway string, to netip.AddrPort) (left int) {
	m.t.Helper()
	watch, err := tap.Open(tap.Options{
		Links: []string{gateway}, WireGuard: []uint16{51820, 51821},
		Controller: []netip.AddrPort{netip.AddrPortFrom(m.lab.Host(lab.DefaultController).IPv4(), 7443)},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.lab.Host(from).Do(func() error {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		if errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETUNREACH) {
			return nil // there is no way at all
		}
		if err != nil {
			return err
		}
		defer c.Close()
		for range 200 {
			_, _ = c.Write([]byte("order data")) // whether it may is what is measured
		}
		return nil
	}); err != nil {
		m.t.Fatal(err)
	}
	report, err := watch.Close()
	if err != nil {
		m.t.Fatal(err)
	}
	return int(report.Total().Packets.Other)
}

// TestLeakGuard deletes the tunnel and all routes of a host whose agent was killed. Nothing for the mesh leaves in
// plain text, and what would have is counted. Without the guard it leaves.
func TestLeakGuard(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	m.must(lab.DefaultController, "mesh", "show")
	shop := m.lab.Host("shop")
	for _, kind := range []string{"of the overlay", "of nobody in the overlay"} {
		to := netip.AddrPortFrom(m.status("warehouse").Address, 5432)
		if kind != "of the overlay" {
			to = netip.MustParseAddrPort("10.90.77.7:5432")
		}
		t.Run(kind, func(t *testing.T) {
			m := m.in(t)
			name := m.status("shop").Interfaces[0].Name
			if err := m.Agent("shop").Kill(); err != nil {
				t.Fatal(err)
			}
			if err := shop.Do(func() error {
				l, err := netlink.LinkByName(name)
				if err != nil {
					return err
				}
				if err := netlink.LinkDel(l); err != nil {
					return err
				}
				return removeOurRoutes()
			}); err != nil {
				t.Fatal(err)
			}
			if n := m.flood("shop", to); n != 0 {
				t.Errorf("%d packets for the mesh left in plain text", n)
			}
			counted := m.nft("shop", "list", "counter", "inet", "warren", peers.CounterLeaked)
			if strings.Contains(counted, "packets 0 ") {
				t.Errorf("what was dropped is not counted:\n%s", counted)
			}
			m.nft("shop", "delete", "table", "inet", "warren")
			if n := m.flood("shop", to); n == 0 {
				t.Error("without the guard nothing is seen either: this test sees nothing")
			}
			if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
				t.Fatal(err)
			}
			m.allUp(1)
		})
	}
	// Somebody flushes all rules while the agent runs: they are back within 5 s.
	m.nft("shop", "flush", "ruleset")
	until(t, 5*time.Second, "the guard is back", func() bool { return strings.Contains(m.nft("shop", "list", "tables"), "inet warren") })
}

// TestGuardBesideOthers has rules of somebody else on a host. They stay as they are, and an agent that starts again
// changes none, its own either.
func TestGuardBesideOthers(t *testing.T) {
	m := newMesh(t, "shop", "warehouse")
	m.nft("shop", "add table inet firewalld; add chain inet firewalld in { type filter hook input priority 10; policy accept; }; "+
		"add rule inet firewalld in tcp dport 25 counter drop; add table ip nat; "+
		"add chain ip nat post { type nat hook postrouting priority 100; }; add rule ip nat post ip saddr 172.17.0.0/16 masquerade")
	foreign := func() string {
		return m.nft("shop", "list", "table", "inet", "firewalld") + m.nft("shop", "list", "table", "ip", "nat")
	}
	before := foreign()
	for _, name := range []string{"shop", "warehouse"} {
		if err := m.Enrol(m.patient(), name, name); err != nil {
			t.Fatal(err)
		}
	}
	m.allUp(1)
	r := m.policy("flows:\n  - {from: host:warehouse, to: host:shop, allow: [icmp, tcp/443]}\n")
	m.applied(r.Revision)
	if after := foreign(); after != before {
		t.Errorf("somebody else's rules were\n%s\nand are\n%s", before, after)
	}
	ours := func() string { return m.nft("shop", "-a", "list", "table", "inet", "warren") }
	handles := ours()
	if err := m.Agent("shop").Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "the agent is well", func() bool { return m.status("shop").State == wire.StateOK })
	if after := ours(); tables(after) != tables(handles) {
		t.Errorf("the table was made again:\n%s\nafter\n%s", after, handles)
	}
	m.withoutFirewall(t)
}

// tables is a listing without what packets change.
func tables(listing string) string {
	var out strings.Builder
	for line := range strings.Lines(listing) {
		if !strings.Contains(line, "packets ") && !strings.Contains(line, " expires ") {
			out.WriteString(line)
		}
	}
	return out.String()
}

// withoutFirewall restarts an agent with --firewall off, the controller being dead: no rule is left, what the policy has kept
// out gets in, and it says so.
func (m *mesh) withoutFirewall(t *testing.T) {
	t.Helper()
	kept := netip.AddrPortFrom(m.status("shop").Address, 5432)
	listen(t, m.lab.Host("shop"), kept)
	m.getsNot(kept, "warehouse")
	if err := m.Controller().Kill(); err != nil {
		t.Fatal(err)
	}
	if err := m.Agent("shop").Kill(); err != nil {
		t.Fatal(err)
	}
	d, err := m.lab.Host("shop").Start("bare", "warren-agent", "run", "--firewall", "off")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Ready(m.patient()); err != nil {
		t.Fatal(err)
	}
	if got := m.nft("shop", "list", "tables"); strings.Contains(got, "inet warren") {
		t.Errorf("with the firewall off there are\n%s", got)
	}
	m.gets(kept, "warehouse")
	s := m.status("shop")
	if s.Guard == nil || s.Guard.Firewall != wire.GuardOff || s.Guard.Policy != wire.PolicyUnenforced {
		t.Errorf("the status says of the guard %+v", s.Guard)
	}
	found := false
	for _, p := range s.Problems {
		found = found || p.Code == "firewall-off"
	}
	if !found {
		t.Errorf("it is no problem: %+v", s.Problems)
	}
}

// TestGuardAtBoot reboots a host and puts its last guard in place before its agent runs, as warren-guard.service does.
func TestGuardAtBoot(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	shop := m.lab.Host("shop")
	before := tables(m.nft("shop", "list", "table", "inet", "warren"))
	until(t, patience, "the guard is on disk", func() bool {
		out, err := shop.Command(m.patient(), "grep", "-c", "Wall", "/var/lib/warren-agent/guard").Output()
		return err == nil && strings.TrimSpace(string(out)) != "0"
	})
	to := netip.AddrPortFrom(m.status("warehouse").Address, 5432)
	if err := shop.Reboot(); err != nil {
		t.Fatal(err)
	}
	// Not at once: what is sent before the router's link address is known waits for it.
	until(t, patience, "packets leave before the guard is there, or this test sees nothing", func() bool {
		return m.flood("shop", to) > 0
	})
	if out, err := shop.Command(m.patient(), "warren-agent", "guard", "--load").CombinedOutput(); err != nil {
		t.Fatalf("warren-agent guard --load: %v\n%s", err, out)
	}
	if after := tables(m.nft("shop", "list", "table", "inet", "warren")); after != before {
		t.Errorf("another guard than before:\n%s\nwant\n%s", after, before)
	}
	if n := m.flood("shop", to); n != 0 {
		t.Errorf("%d packets for the mesh left in plain text before the agent ran", n)
	}
	if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
		t.Fatal(err)
	}
	m.allUp(1)
}

// TestNextAgentKeepsGuard: the first policy after a start of the agent does not make the table anew, in which moment it would
// refuse what both policies let in.
func TestNextAgentKeepsGuard(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	table := func() string {
		text := m.nft("shop", "-a", "list", "table", "inet", "warren")
		name, _, _ := strings.Cut(text, "\n")
		return name
	}
	var kept peers.Guard
	inForce := func() bool { return strings.Contains(ruleset(t, m.lab.Host("shop")), kept.Digest()) }
	until(t, patience, "the guard in force is on disk", func() bool {
		raw, err := os.ReadFile(m.lab.Host("shop").Path(agentData + "guard"))
		_, content, _ := bytes.Cut(raw, []byte("\n"))
		return err == nil && json.Unmarshal(content, &kept) == nil && inForce()
	})
	was := table()
	m.restart("shop")
	m.must(lab.DefaultController, "policy", "apply", m.file("policy.yaml", "flows: [{from: '*', to: '*', allow: [icmp]}]"))
	until(t, patience, "another policy is in force", func() bool { return !inForce() })
	if is := table(); is != was {
		t.Errorf("it was %q and is %q", was, is)
	}
}
