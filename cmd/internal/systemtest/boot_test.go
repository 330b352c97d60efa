package systemtest

import (
	"net/netip"
	"strings"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/vm/hand"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	backWithin      = 10 * time.Second // from the network to the first answer, the controller dead
	clockBackWithin = 30 * time.Second // the same with a clock that has gone back
)

// remember has the machine look for an answer through the tunnel from the next boot on.
func (w *world) remember() netip.AddrPort {
	w.shop.t.Helper()
	at := netip.AddrPortFrom(w.warehouse.well().Address, 7)
	if err := w.warehouse.guest.Hand.Echo(w.shop.t.Context(), at); err != nil {
		w.shop.t.Fatal(err)
	}
	w.shop.sh("mkdir -p /var/lib/hand && echo " + at.String() + " > /var/lib/hand/first && sync")
	return at
}

// back waits for the first answer after a boot and holds its time against the bound.
func (m *machine) back(within time.Duration) {
	m.t.Helper()
	var b hand.Boot
	m.until(patience, "gets an answer through the tunnel", func() bool {
		var err error
		b, err = m.guest.Hand.Boot(m.t.Context())
		return err == nil && b.Answer != 0
	})
	took := b.Answer - b.Network
	m.t.Logf("network up %.1f s after the kernel started, first answer through the tunnel %.1f s after that",
		b.Network.Seconds(), took.Seconds())
	if took > within {
		m.t.Errorf("the first answer came %v after the network, want %v", took, within)
	}
}

// reset takes the power of the shop away while the controller is dead.
func reset(w *world) {
	before := w.shop.well()
	w.orders()
	w.remember()
	w.warehouse.sh("systemctl stop warren-controller")
	w.shop.powerCut("", time.Time{})
	w.shop.back(backWithin)
	w.shop.ordered()
	w.shop.sh("systemctl disable orders && rm /etc/systemd/system/orders.service && systemctl daemon-reload")
	s, code := w.shop.status()
	if s.ID != before.ID || s.Peers[0].State != wire.PeerUp || code == 4 {
		w.shop.t.Errorf("after the reset: host %s (before %s), peer %s, exit code %d", s.ID, before.ID, s.Peers[0].State, code)
	}
	w.warehouse.sh("systemctl start warren-controller")
	w.shop.well()
}

// orders puts a unit onto the shop that wants the tunnels, as software of the shop would.
func (w *world) orders() {
	w.shop.t.Helper()
	w.shop.sh(`cat > /etc/systemd/system/orders.service <<'U' && systemctl daemon-reload && systemctl enable orders.service
[Unit]
Requires=warren-online.service
After=warren-online.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/ping -c 1 -W 3 ` + w.warehouse.well().Address.String() + `
[Install]
WantedBy=multi-user.target
U`)
}

// ordered looks whether the unit found the tunnels as it started.
func (m *machine) ordered() {
	m.t.Helper()
	m.until(patience, "has started what is ordered after the tunnels", func() bool {
		return !strings.Contains(m.sh("systemctl show -P ActiveState orders.service"), "activating") &&
			!m.is("systemctl list-jobs | grep -q orders.service")
	})
	if state := m.sh("systemctl show -P ActiveState orders.service"); state != "active" {
		m.t.Errorf("a unit after warren-online.service found no tunnel: %s\n%s", state,
			m.sh("journalctl -b --no-pager -u orders -u warren-agent -u warren-online | tail -40"))
	}
}

// clockBack boots the shop with a clock that has gone back by 30 days. The warehouse remembers later handshakes.
func clockBack(w *world) {
	w.remember()
	w.warehouse.sh("systemctl stop warren-controller")
	w.shop.powerCut("", time.Now().Add(-30*24*time.Hour))
	w.shop.t.Logf("the shop believes it is %s, the warehouse %s", w.shop.sh("date -Is"), w.warehouse.sh("date -Is"))
	w.shop.back(clockBackWithin)
	w.warehouse.sh("systemctl start warren-controller")
	w.shop.until(patience, "reaches the controller with its wrong clock", func() bool {
		s, _ := w.shop.status()
		return s.Controller.Connected && s.Peers[0].State == wire.PeerUp
	})
	s, code := w.shop.status()
	if !hasWord(s, "clock") {
		w.shop.t.Errorf("status says nothing of the clock: %v", s.Problems)
	}
	w.shop.t.Logf("exit code %d, problems %v", code, s.Problems)
	w.shop.diagnosed("clock", "warning", "", "timedatectl set-ntp true")
}

// withoutIPv6 boots the shop with a kernel that has none.
func withoutIPv6(w *world) {
	w.remember()
	w.shop.powerCut("ipv6.disable=1", time.Time{})
	w.shop.back(backWithin)
	w.shop.until(patience, "has a peer that is up", func() bool {
		s, _ := w.shop.status()
		return len(s.Peers) == 1 && s.Peers[0].State == wire.PeerUp && s.Controller.Connected
	})
	s, code := w.shop.status()
	if code != 0 || s.State != wire.StateOK {
		w.shop.t.Errorf("without IPv6: state %s, exit code %d, problems %v", s.State, code, s.Problems)
	}
	if text := w.shop.sh("warren status"); !strings.Contains(text, "IPv6") {
		w.shop.t.Errorf("status says nothing of IPv6:\n%s", text)
	}
}

// withoutModule boots the shop with a kernel that may not load WireGuard, and does everything to the tunnel process
// that was done to the kernel's tunnel before.
func withoutModule(w *world) {
	w.remember()
	w.shop.powerCut("module_blacklist=wireguard", time.Time{})
	w.shop.back(backWithin)
	if s := w.shop.well(); s.Backend != "userspace" {
		w.shop.t.Errorf("backend %s, want userspace", s.Backend)
	}
	if n := w.shop.sh("warren status | grep -c userspace"); n != "1" {
		w.shop.t.Errorf("%s lines of status tell of the backend, want 1:\n%s", n, w.shop.sh("warren status"))
	}
	w.shop.diagnosed("backend", "ok", "this kernel has no WireGuard", "modprobe wireguard")
}
