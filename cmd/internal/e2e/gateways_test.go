package e2e

import (
	"net/netip"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
)

// boots has a host that was switched off come back.
func (m *mesh) boots(host string) {
	m.t.Helper()
	if err := m.lab.Host(host).Reboot(); err != nil {
		m.t.Fatal(err)
	}
	forwardIPv6(m.t, m.lab, host)
	if _, err := m.StartAgent(m.patient(), host); err != nil {
		m.t.Fatal(err)
	}
}

// takesOver waits until a gateway acts for hosts and has the virtual address, and traffic flows that had ceased when the
// one before was lost.
func (m *mesh) takesOver(gateway string, tr *traffic, broken time.Time, hosts ...string) {
	m.t.Helper()
	m.acts(gateway, hosts...)
	tr.more(100)
	if gap := tr.gap(broken); gap > failOverWithin {
		m.t.Errorf("%s takes over: no packet for %v", gateway, gap)
	} else {
		m.t.Logf("%s takes over: no packet for %v", gateway, gap)
	}
	until(m.t, patience, gateway+" has the virtual address", func() bool { return m.holdsVirtual(gateway) })
}

// TestGatewaysDuringRotation: while all keys are replaced, a gateway is drained without a packet lost, and another one is
// switched off. The rotations end.
func TestGatewaysDuringRotation(t *testing.T) {
	m := twoGateways(t)
	till, erp := m.lab.Host("till"), m.lab.Host("erp")
	there := flowAt(t, till, erp, netip.MustParseAddr(erpAddress), 200)
	back := flowAt(t, erp, till, netip.MustParseAddr("10.10.0.7"), 200)
	m.rotate(2)
	m.must(lab.DefaultController, "host", "drain", "wh1")
	if m.rotation().Phase == peers.PhaseIdle {
		t.Fatal("the rotation was over before the drain began: this test sees nothing")
	}
	m.acts("wh2", "shop", "wh1", "wh2")
	m.rotated(2, patience)
	m.onlyGeneration(2)
	until(t, patience, "wh2 has the virtual address", func() bool { return m.holdsVirtual("wh2") })
	there.more(200)
	for name, tr := range map[string]*traffic{"from the mesh": there, "to the mesh": back} {
		if sent, lost := tr.end(); lost > 0 {
			t.Errorf("%s: lost %d of %d, sent at %v", name, lost, sent, tr.losses(20))
		}
	}

	m.must(lab.DefaultController, "host", "undrain", "wh1")
	m.fit("shop", "wh1", true)
	tr := flow(t, till, erp, netip.MustParseAddr(erpAddress))
	m.rotate(3)
	broken := time.Now()
	if err := m.lab.Host("wh2").PowerOff(); err != nil {
		t.Fatal(err)
	}
	m.takesOver("wh1", tr, broken, "shop", "wh1")
	m.boots("wh2")
	m.rotated(3, patience)
	m.onlyGeneration(3)
	m.acts("wh1", "shop", "wh1", "wh2")
	tr.more(100)
}

// TestFlappingGateway: the cable of the first gateway to the LAN comes and goes. Traffic leaves it once, and does not come
// back before it has been well for half a minute; meanwhile no packet is lost.
func TestFlappingGateway(t *testing.T) {
	m := twoGateways(t)
	tr := flow(t, m.lab.Host("till"), m.lab.Host("erp"), netip.MustParseAddr(erpAddress))
	var moved time.Time
	for i := range 4 {
		broken := time.Now()
		if err := m.lab.Host("wh1").PullLAN(); err != nil {
			t.Fatal(err)
		}
		m.fit("shop", "wh1", false)
		if i == 0 {
			m.takesOver("wh2", tr, broken, "shop", "wh1", "wh2")
			moved = time.Now()
		}
		tr.more(100)
		if err := m.lab.Host("wh1").RestoreLAN(); err != nil {
			t.Fatal(err)
		}
		m.fit("shop", "wh1", true)
		m.fit("wh2", "wh1", true)
		tr.more(300)
	}
	for _, host := range []string{"shop", "wh1", "wh2"} {
		if s := m.site(host); s.Acting != "wh2" || s.Moves != 1 {
			t.Errorf("%s has moved %d times, to %s at last", host, s.Moves, s.Acting)
		}
	}
	if m.holdsVirtual("wh1") || !m.holdsVirtual("wh2") {
		t.Error("the virtual address is not where traffic goes")
	}
	tr.end()
	if lost := tr.lostSince(moved); lost > 0 {
		t.Errorf("lost %d packets while only the gateway came and went that nobody used, sent at %v", lost, tr.losses(500))
	}
}

// TestThreeGateways: the first is switched off, then the second. They come back, and the first one is given the traffic
// again, without a packet lost.
func TestThreeGateways(t *testing.T) {
	m := gatewaysOn(t, labOfGateways(t, 3), 3)
	tr := flow(t, m.lab.Host("till"), m.lab.Host("erp"), netip.MustParseAddr(erpAddress))
	rest := []string{"shop", "wh2", "wh3"}
	for _, lost := range []string{"wh1", "wh2"} {
		broken := time.Now()
		if err := m.lab.Host(lost).PowerOff(); err != nil {
			t.Fatal(err)
		}
		next := map[string]string{"wh1": "wh2", "wh2": "wh3"}[lost]
		m.takesOver(next, tr, broken, rest...)
		rest = []string{"shop", "wh3"}
	}
	wellAgain := time.Now()
	m.boots("wh1")
	m.fit("wh3", "wh1", true)
	m.boots("wh2")
	m.fit("wh3", "wh2", true)
	all := []string{"shop", "wh1", "wh2", "wh3"}
	m.acts("wh3", all...)
	tr.more(50)
	m.acts("wh1", all...) // after half a minute
	if after := time.Since(wellAgain); after < peers.HoldDown {
		t.Errorf("traffic went back after %v", after)
	}
	until(t, patience, "wh1 has the virtual address", func() bool { return m.holdsVirtual("wh1") })
	tr.more(100)
	if s := m.site("shop"); s.Moves != 3 {
		t.Errorf("the shop has moved %d times", s.Moves)
	}
	tr.end()
	if lost := tr.lostSince(wellAgain); lost > 0 {
		t.Errorf("lost %d packets on the way back, sent at %v", lost, tr.losses(500))
	}
}
