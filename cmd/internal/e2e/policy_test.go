package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// policy puts a policy in force and gives what it comes to.
func (m *mesh) policy(text string) (r wire.PolicyResult) {
	m.t.Helper()
	name := m.file("policy.yaml", text)
	if err := json.Unmarshal([]byte(m.must(lab.DefaultController, "policy", "apply", name, "-o", "json")), &r); err != nil {
		m.t.Fatal(err)
	}
	return r
}

// applied waits until all members have applied a revision.
func (m *mesh) applied(rev peers.Revision) {
	m.t.Helper()
	for _, h := range m.Members() {
		until(m.t, patience, h.Name()+" has applied the policy", func() bool { return m.status(h.Name()).Revision >= rev })
	}
}

func (m *mesh) flows(host string) (r wire.FlowReport) {
	m.t.Helper()
	if err := json.Unmarshal([]byte(m.must(host, "flows", "-o", "json")), &r); err != nil {
		m.t.Fatal(err)
	}
	return r
}

// droppedBy is how many packets a rule has dropped on a host.
func (m *mesh) droppedBy(host, rule string) uint64 {
	m.t.Helper()
	for _, d := range m.flows(host).Dropped {
		if d.Rule == rule {
			return d.Packets
		}
	}
	return 0
}

// listen has a host echo what comes to a TCP port.
func listen(t testing.TB, h *lab.Host, at netip.AddrPort) {
	t.Helper()
	serve(t, h, at.String(), func(c net.Conn) { _, _ = io.Copy(c, c) })
}

// serve has a host do something with each connection to a TCP port.
func serve(t testing.TB, h *lab.Host, at string, do func(net.Conn)) {
	t.Helper()
	var l net.Listener
	if err := h.Do(func() (err error) {
		l, err = net.Listen("tcp", at)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go do(c)
		}
	}()
}

// dial connects from a host within half a second.
func dial(h *lab.Host, to netip.AddrPort) (c net.Conn, err error) {
	err = h.Do(func() error {
		c, err = net.DialTimeout("tcp", to.String(), 500*time.Millisecond)
		return err
	})
	return c, err
}

// echoes reports whether what is sent comes back within a time.
func echoes(c net.Conn, within time.Duration) bool {
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return false
	}
	if _, err := c.Write([]byte("order")); err != nil {
		return false
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	return err == nil
}

func (m *mesh) wgPeers(host string) string {
	m.t.Helper()
	out, err := m.lab.Host(host).Command(m.patient(), "wg", "show", "all", "peers").CombinedOutput()
	if err != nil {
		m.t.Fatalf("wg show on %s: %v\n%s", host, err, out)
	}
	return string(out)
}

// publicKey is the WireGuard key of a host, as it has it itself.
func (m *mesh) publicKey(host string) string {
	m.t.Helper()
	return m.status(host).Interfaces[0].PublicKey.String()
}

// TestPolicy opens and closes flows between three sites while they run.
func TestPolicy(t *testing.T) {
	m := startMesh(t, "shop", "warehouse", "accounting")
	m.allUp(2)
	shop, warehouse := m.lab.Host("shop"), m.lab.Host("warehouse")
	to := m.status("warehouse").Address
	orders, admin := netip.AddrPortFrom(to, 5432), netip.AddrPortFrom(to, 22)
	listen(t, warehouse, orders)
	listen(t, warehouse, admin)
	if g := m.status("shop").Guard; g == nil || g.Policy != wire.PolicyAllowAll || g.Firewall != wire.GuardOn {
		t.Errorf("a mesh without a policy shows the guard %+v", g)
	}
	old, err := dial(shop, admin)
	if err != nil || !echoes(old, 5*time.Second) {
		t.Fatalf("without a policy something is closed: %v", err)
	}

	r := m.policy(`
flows:
  - {from: site:shop, to: host:warehouse, allow: [tcp/5432, icmp]}
  - {from: host:accounting, to: host:warehouse, allow: tcp/8443}
tests:
  - {from: host:shop, to: host:warehouse, proto: tcp/5432, expect: allow}
  - {from: host:shop, to: host:accounting, proto: icmp, expect: deny}
`)
	m.applied(r.Revision)
	allowed, err := dial(shop, orders)
	if err != nil || !echoes(allowed, 5*time.Second) {
		t.Fatalf("what the policy allows does not pass: %v", err)
	}
	if c, err := dial(shop, admin); err == nil {
		_ = c.Close()
		t.Error("what the policy does not allow passes")
	}
	if n := m.droppedBy("warehouse", peers.CounterRefused); n == 0 {
		t.Error("what was dropped is not counted")
	}
	if echoes(old, 3*time.Second) {
		t.Error("a connection from before the policy goes on though no flow allows it")
	}
	f := m.flows("warehouse")
	if len(f.Allowed) != 2 || f.Allowed[0].Flow != 1 || f.Allowed[0].Packets < 5 || f.Allowed[1].Packets != 0 {
		t.Errorf("the flows are counted as %+v", f.Allowed)
	}
	m.knowsNobodyElse(t)
	// The agents' own questions pass whatever the policy says.
	m.must("shop", "ping", "warehouse", "--count", "2")
	m.must("warehouse", "ping", "accounting", "--count", "2")
	m.closeFlow(t, allowed, orders)
}

// knowsNobodyElse: shop and accounting have no flow, so neither has the other's keys, and both the warehouse's.
func (m *mesh) knowsNobodyElse(t *testing.T) {
	t.Helper()
	for host, other := range map[string]string{"shop": "accounting", "accounting": "shop"} {
		key := m.publicKey(other)
		until(t, patience, host+" has forgotten "+other, func() bool { return !strings.Contains(m.wgPeers(host), key) })
		if !strings.Contains(m.wgPeers(host), m.publicKey("warehouse")) {
			t.Errorf("%s does not have the warehouse's key either", host)
		}
	}
}

// closeFlow takes one flow away and leaves another between the same hosts, so that the tunnel stays.
func (m *mesh) closeFlow(t *testing.T, open net.Conn, orders netip.AddrPort) {
	t.Helper()
	if !echoes(open, 5*time.Second) {
		t.Fatal("the connection does not live")
	}
	before := m.flows("warehouse").Allowed[1]
	start := time.Now()
	m.policy(`
flows:
  - {from: site:shop, to: host:warehouse, allow: icmp}
  - {from: host:accounting, to: host:warehouse, allow: tcp/8443}
`)
	for echoes(open, 200*time.Millisecond) {
		if time.Since(start) > 3*time.Second {
			t.Fatal("a closed flow goes on for 3 s")
		}
	}
	t.Logf("closed after %v", time.Since(start).Round(time.Millisecond))
	if c, err := dial(m.lab.Host("shop"), orders); err == nil {
		_ = c.Close()
		t.Error("a closed flow opens again")
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused otherwise than by the guard: %v", err)
	}
	if after := m.flows("warehouse").Allowed[1]; after.Packets < before.Packets {
		t.Errorf("the counter of a flow that stayed went from %d to %d", before.Packets, after.Packets)
	}
	if got := m.up("shop"); got != 1 {
		t.Errorf("shop has %d peers up, want the warehouse alone", got)
	}
}

// TestReplacedPolicyLosesNothing: what each of several policies lets in goes on while one follows on the other, and ceases with
// one that does not.
func TestReplacedPolicyLosesNothing(t *testing.T) {
	m := startMesh(t, "shop", "warehouse")
	m.allUp(1)
	tr := flowAt(t, m.lab.Host("shop"), m.lab.Host("warehouse"), m.status("warehouse").Address, 1000)
	policy := func(n int, lets string) {
		t.Helper()
		text := "flows:\n  - {from: host:shop, to: host:warehouse, allow: " + lets + "}\n"
		for i := range 200 {
			text += fmt.Sprintf("  - {from: site:shop, to: host:warehouse, allow: tcp/%d}\n", 10_000+100*n+i)
		}
		m.applied(m.policy(text).Revision)
	}
	tr.more(20)
	for n := range 12 {
		policy(n, "udp")
		tr.more(20)
	}
	if sent, lost := tr.end(); lost > 0 {
		t.Errorf("lost %d of %d, sent at %v", lost, sent, tr.losses(20))
	} else {
		t.Logf("lost none of %d", sent)
	}
	tr = flow(t, m.lab.Host("shop"), m.lab.Host("warehouse"), m.status("warehouse").Address)
	policy(12, "icmp")
	tr.quiet(patience, time.Second)
}

// TestLabels lets a host in by a label, and out again.
func TestLabels(t *testing.T) {
	m := startMesh(t, "till", "warehouse")
	m.allUp(1)
	r := m.policy("flows:\n  - {from: 'label:role=till', to: host:warehouse, allow: tcp/5432}\n")
	if len(r.CutOff) != 2 {
		t.Errorf("cut off are %v", r.CutOff)
	}
	m.applied(r.Revision)
	until(t, patience, "they have parted", func() bool { return len(m.status("till").Peers) == 0 })
	orders := netip.AddrPortFrom(m.status("warehouse").Address, 5432)
	listen(t, m.lab.Host("warehouse"), orders)
	m.must(lab.DefaultController, "host", "label", "till", "role=till")
	until(t, patience, "the till gets in", func() bool {
		c, err := dial(m.lab.Host("till"), orders)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	m.must(lab.DefaultController, "host", "label", "till", "role-")
	until(t, patience, "they have parted again", func() bool {
		return m.wgPeers("warehouse") == "" || !strings.Contains(m.wgPeers("warehouse"), m.publicKey("till"))
	})
	if f := m.fails(lab.DefaultController, "policy", "check", "/nowhere.yaml"); f.Code != "policy-file" {
		t.Errorf("%+v", f)
	}
}
