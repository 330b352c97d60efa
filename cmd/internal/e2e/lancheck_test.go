package e2e

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestLANCheck: the LAN of the gateway that acts is cut off behind its link, which keeps its carrier. Where it asks
// nobody, traffic stays dead; where it asks hosts of the LAN, the other gateway takes over, with the controller dead,
// and when that one hears of nobody either, nothing moves.
func TestLANCheck(t *testing.T) {
	m := twoGateways(t)
	tr := flow(t, m.lab.Host("till"), m.lab.Host("erp"), netip.MustParseAddr(erpAddress))
	do := func(f func(*lab.Host) error, hosts ...string) {
		t.Helper()
		for _, h := range hosts {
			if err := f(m.lab.Host(h)); err != nil {
				t.Fatal(err)
			}
		}
	}
	do((*lab.Host).CutLAN, "wh1")
	tr.quiet(patience, failOverWithin)
	if s := m.site("shop"); s.Acting != "wh1" || s.Moves != 0 {
		t.Fatalf("nobody asks the LAN, and the shop has moved: %+v", s)
	}
	do((*lab.Host).RestoreLAN, "wh1")
	tr.more(50)

	if f := m.fails(lab.DefaultController, "site", "set", "warehouse", "--lan-check", "10.20.0.2"); f.Code != "lan-check" {
		t.Errorf("a gateway is to be asked: %+v", f)
	}
	m.must(lab.DefaultController, "site", "set", "warehouse", "--lan-check", erpAddress, "--lan-check", "10.20.0.77")
	m.lanCheck("wh1", erpAddress, wire.LANAnswers)
	m.lanCheck("wh2", erpAddress, wire.LANAnswers)
	m.lanCheck("wh1", "10.20.0.77", wire.LANSilent) // nobody has it
	tr.more(100)
	if n := m.site("shop").Moves; n != 0 {
		t.Fatalf("the shop has moved %d times while the ERP answers", n)
	}
	if err := m.Controller().Kill(); err != nil {
		t.Fatal(err)
	}
	broken := time.Now()
	do((*lab.Host).CutLAN, "wh1")
	m.acts("wh2", "shop", "wh2")
	tr.more(100)
	if gap := tr.gap(broken); gap > failOverWithin {
		t.Errorf("no packet for %v", gap)
	} else {
		t.Logf("no packet for %v", gap)
	}
	if !m.holdsVirtual("wh2") {
		t.Error("wh2 has not taken the virtual address")
	}
	m.silent("wh1", true)
	if out, _, _ := m.run("wh1", "status"); !strings.Contains(out, "LAN check") || !strings.Contains(out, "lan-silent") {
		t.Errorf("warren status on wh1 does not say what is wrong:\n%s", out)
	}

	do((*lab.Host).CutLAN, "wh2") // all of them now
	m.silent("wh2", true)
	do((*lab.Host).RestoreLAN, "wh2")
	tr.more(100)
	do((*lab.Host).RestoreLAN, "wh1")
	m.silent("wh1", false)
	if s := m.site("shop"); s.Acting != "wh2" || s.Moves != 1 {
		t.Errorf("it has moved more than once: %+v", s)
	}
	if !m.holdsVirtual("wh2") || m.holdsVirtual("wh1") {
		t.Error("the virtual address is not where it should be")
	}
}

// lanCheck waits until a gateway has found out how an address of its LAN is.
func (m *mesh) lanCheck(gateway, address, want string) {
	m.t.Helper()
	until(m.t, patience, gateway+" has asked "+address, func() bool {
		return slices.ContainsFunc(m.site(gateway).LANCheck, func(c wire.LANCheckStatus) bool {
			return c.Address.String() == address && c.State == want
		})
	})
}

// silent waits until a gateway says that nobody in its LAN answers, or does no longer.
func (m *mesh) silent(gateway string, want bool) {
	m.t.Helper()
	until(m.t, patience, gateway+" has found out whether somebody answers", func() bool {
		is := slices.ContainsFunc(m.status(gateway).Problems, func(p peers.Problem) bool { return p.Code == "lan-silent" })
		return is == want
	})
}
