package systemtest

import (
	"strings"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/vm/hand"
)

// enough is how many packets a flood must have sent with the network up, so that none on the cable says something.
const enough = 2000

// guarded boots the shop while packets for the mesh are sent from the first moment on, with a default route that leads
// onto the cable. None may be on it in plain text, be the agent late, away, or in its place.
func guarded(w *world) {
	m := w.shop
	m.flooding(w.warehouse)
	m.sh("systemctl mask warren-agent")
	if leaked, sent := w.leaks(); leaked.Found != 0 || leaked.Missed != 0 || sent.Denied == 0 {
		m.t.Errorf("without the agent, guarded: on the cable %+v, sent %+v", leaked, sent)
	}
	m.t.Log(m.sh("systemd-analyze critical-chain warren-guard.service --no-pager | tail -n +4; " +
		"systemctl show -P InactiveExitTimestampMonotonic warren-guard systemd-networkd | paste -s"))
	if count := m.sh("nft list counter inet warren leaked | grep packets"); strings.Contains(count, "packets 0 ") {
		m.t.Errorf("what the guard has kept in is not counted: %s", count)
	}
	m.sh("systemctl mask warren-guard")
	if leaked, sent := w.leaks(); leaked.Found == 0 {
		m.t.Errorf("without agent and guard nothing is on the cable, so this test sees nothing: %+v, sent %+v", leaked, sent)
	}
	m.sh("systemctl unmask warren-agent warren-guard")
	leaked, sent := w.leaks()
	m.well()
	if now := w.seen(); now.Found != 0 || now.Missed != 0 {
		m.t.Errorf("a whole boot: on the cable %+v, then %+v, sent %+v", leaked, now, sent)
	}
	m.sh("rm -r /etc/systemd/network/10-shop.network.d /var/lib/hand/flood && sync")
	m.powerCut("", time.Time{})
	m.well()
}

// flooding has the machine send to the peer, and to addresses of the mesh that nobody has, from the next boot on.
func (m *machine) flooding(gateway *machine) {
	m.t.Helper()
	p := m.well().Peers[0]
	m.sh("mkdir -p /etc/systemd/network/10-shop.network.d && " +
		"printf '[Route]\\nGateway=198.51.100.3\\n[Route]\\nGateway=2001:db8::3\\n' > /etc/systemd/network/10-shop.network.d/way.conf")
	m.sh("mkdir -p /var/lib/hand && echo " + p.Address.String() + ":5432 '[" + p.Address6.String() + "]:5432' " +
		p.Address.Next().Next().Next().String() + ":5432 > /var/lib/hand/flood && sync")
}

// leaks boots the shop, waits until its flood has gone on for a while, and tells what the warehouse has seen of it on
// the cable.
func (w *world) leaks() (hand.Watched, hand.Flooded) {
	t := w.shop.t
	t.Helper()
	w.shop.sh("sync")
	w.shop.off() // what it has sent up to here is another boot's
	if err := w.warehouse.guest.Hand.Watch(t.Context(), hand.WatchSpec{Link: "eth0", Content: hand.FloodContent}); err != nil {
		t.Fatal(err)
	}
	w.shop.on("", time.Time{})
	var sent hand.Flooded
	w.shop.until(patience, "has sent enough", func() bool {
		var err error
		sent, err = w.shop.guest.Hand.Flooded(t.Context())
		return err == nil && sent.Late >= enough
	})
	seen := w.seen()
	t.Logf("sent %+v, on the cable %+v", sent, seen)
	return seen, sent
}

// seen is what the watch has seen up to now.
func (w *world) seen() hand.Watched {
	w.shop.t.Helper()
	seen, err := w.warehouse.guest.Hand.Watched(w.shop.t.Context())
	if err != nil {
		w.shop.t.Fatal(err)
	}
	return seen
}
