package e2e

import (
	"net/netip"
	"testing"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/tap"
	"github.com/warren-mesh/warren/peers"
)

// TestRetiredKeysAreSilent captures what crosses the internet while traffic flows, before a rotation and after it: then
// nothing comes from or goes to the port of the old interface any more, and no message is for a session that there was
// before. That interfaces and keys are gone is in TestRotationLosesNothing.
func TestRetiredKeysAreSilent(t *testing.T) {
	m := startMesh(t, sites()...)
	m.allUp(2)
	flows := m.everybody()
	before := m.capture(flows, 1)
	m.rotate(2)
	m.rotated(2, rotationTakes)
	m.onlyGeneration(2)
	after := m.capture(flows, 2)
	known := map[tap.Session]bool{}
	for _, s := range before.Sessions {
		known[tap.Session{To: s.To, Index: s.Index}] = true
	}
	// Each pair has one in either direction, or two where both ends began a handshake at the same moment, and each
	// message crosses two links.
	if len(known) < 6 || before.Packets.Data == 0 || before.Packets.Other != 0 {
		t.Errorf("before: sessions %v, packets %+v, others %v", before.Sessions, before.Packets, before.Others)
	}
	for _, s := range after.Sessions {
		if known[tap.Session{To: s.To, Index: s.Index}] {
			t.Errorf("%d packets are still of an old session: %+v", s.Packets, s)
		}
	}
	if len(after.Sessions) < 12 || after.Packets.Data == 0 || after.Packets.Other != 0 {
		t.Errorf("after: sessions %v, packets %+v, others %v", after.Sessions, after.Packets, after.Others)
	}
	for name, f := range flows {
		if sent, lost := f.end(); lost > 0 || sent == 0 {
			t.Errorf("%s: %d of %d packets lost", name, lost, sent)
		}
	}
	// Would a packet to the old port have been seen?
	if other := m.capture(nil, 1); other.Packets.Other == 0 {
		t.Error("with the old port taken for the new one nothing is seen either: this test sees nothing")
	}
}

// capture watches the links of all members for a while, in which some traffic flows. Only the port of one generation
// is a tunnel's; what else there is, is Other.
func (m *mesh) capture(flows map[string]*traffic, g peers.Generation) tap.LinkReport {
	m.t.Helper()
	o := tap.Options{WireGuard: []uint16{peers.DefaultPort + uint16(g.Slot())}, Controller: m.controllers()}
	for _, h := range m.Members() {
		o.Links = append(o.Links, h.Name())
	}
	watch, err := tap.Open(o)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, f := range flows {
		f.more(100)
	}
	if len(flows) == 0 {
		m.must("shop", "ping", "warehouse", "--count", "2")
	}
	report, err := watch.Close()
	if err != nil {
		m.t.Fatal(err)
	}
	return report.Total()
}

// controllers are the addresses of the controller, in both families.
func (m *mesh) controllers() (out []netip.AddrPort) {
	host := m.lab.Host(lab.DefaultController)
	for _, addr := range []netip.Addr{host.IPv4(), host.IPv6()} {
		if addr.IsValid() {
			out = append(out, netip.AddrPortFrom(addr, 7443))
		}
	}
	return out
}
