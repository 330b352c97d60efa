package e2e

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// TestVirtualIPv6: the LAN of the warehouse sends IPv6 to a virtual address, too. It follows when a gateway is switched
// off and when one is drained, which loses nothing; it survives the agent, and leaving takes it away.
func TestVirtualIPv6(t *testing.T) {
	const virtual6 = "fd20::1"
	m := twoGateways(t)
	on := func(host string, args ...string) string {
		t.Helper()
		out, err := m.lab.Host(host).Command(m.patient(), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v on %s: %v\n%s", args, host, err, out)
		}
		return string(out)
	}
	has := func(host string) bool {
		return strings.Contains(on(host, "ip", "-6", "address", "show", "dev", "lan0"), virtual6+"/128")
	}
	holds := func(host string, want bool) {
		t.Helper()
		until(t, patience, "the virtual address of IPv6 on "+host, func() bool { return has(host) == want })
	}
	m.must(lab.DefaultController, "site", "set", "warehouse", "--virtual-ip", virtual6)
	holds("wh1", true)
	if has("wh2") || !m.holdsVirtual("wh1") {
		t.Fatal("the virtual addresses are not where they should be")
	}
	on("erp", "ip", "-6", "route", "replace", "default", "via", virtual6, "dev", "lan0")
	tr := flow(t, m.lab.Host("till"), m.lab.Host("erp"), netip.MustParseAddr(erpAddress6))
	tr.more(50)

	m.must(lab.DefaultController, "host", "drain", "wh1", "--wait")
	holds("wh2", true)
	holds("wh1", false)
	tr.more(100)
	if sent, lost := tr.end(); lost > 0 {
		t.Errorf("the drain has lost %d of %d, sent at %v", lost, sent, tr.losses(20))
	}
	m.must(lab.DefaultController, "host", "undrain", "wh1")
	m.fit("shop", "wh1", true)

	tr = flow(t, m.lab.Host("till"), m.lab.Host("erp"), netip.MustParseAddr(erpAddress6))
	if err := m.Agent("wh2").Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartAgent(m.patient(), "wh2"); err != nil {
		t.Fatal(err)
	}
	m.acts("wh2", "wh2")
	holds("wh2", true)
	tr.more(100)
	broken := time.Now()
	if err := m.lab.Host("wh2").PowerOff(); err != nil {
		t.Fatal(err)
	}
	m.acts("wh1", "shop", "wh1")
	holds("wh1", true)
	tr.more(100)
	if gap := tr.gap(broken); gap > failOverWithin {
		t.Errorf("no packet for %v", gap)
	} else {
		t.Logf("no packet for %v", gap)
	}
	m.must("wh1", "leave", "--force")
	if has("wh1") || m.holdsVirtual("wh1") {
		t.Error("a host that has left has virtual addresses")
	}
}
