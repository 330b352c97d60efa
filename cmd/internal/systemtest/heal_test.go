package systemtest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	// healWithin is how soon what others have taken away must be back, where the kernel tells of it.
	healWithin = 5 * time.Second
	// noticeWithin is the same for what no event tells of: the next look, and a handshake after it.
	noticeWithin = 40 * time.Second
)

// A fault is something that others do to the network of a host.
type fault struct {
	name, do, back string
	within         time.Duration
}

// heals lets others take away what is ours, and looks for it to come back while the LAN is as it was.
func heals(w *world) {
	s := w.shop.well()
	link, peer := s.Peers[0].Interface, s.Peers[0].Address.String()
	lan := w.shop.lan()
	control := w.shop.stream(w.warehouse, lanAddress(w.warehouse))
	for _, f := range []fault{
		{"link deleted", "ip link del " + link, "ip link show " + link, healWithin},
		{"link set down", "ip link set " + link + " down", "ip link show " + link + " | grep -q '[<,]UP[,>]'", healWithin},
		{"addresses flushed", "ip addr flush dev " + link, "ip addr show " + link + " | grep -q " + s.Address.String(), healWithin},
		{"our routes flushed", "ip route flush proto 119", "ip route show proto 119 | grep -q " + peer, healWithin},
		{"routes of the link flushed", "ip route flush dev " + link, "ip route show proto 119 | grep -q " + peer, healWithin},
		{"MTU changed", "ip link set " + link + " mtu 1280", "! ip link show " + link + " | grep -q 'mtu 1280'", healWithin},
		{"nft flush ruleset", "nft list table inet warren && nft flush ruleset", "nft list table inet warren", healWithin},
		{
			"peer removed", "wg set " + link + " peer $(wg show " + link + " peers) remove",
			"[ -n \"$(wg show " + link + " peers)\" ]", noticeWithin,
		},
		{
			"port changed", "wg set " + link + " listen-port 4444",
			"! wg show " + link + " listen-port | grep -q 4444", noticeWithin,
		},
	} {
		w.shop.t.Run(f.name, func(t *testing.T) { w.on(t).shop.healed(f, peer) })
	}
	control.lossless() // until here: see leftAlone
	w.shop.t.Run("networkd without our files", func(t *testing.T) {
		const restart = "mkdir /run/hidden && mv /usr/lib/systemd/network/00-warren.network /usr/lib/systemd/networkd.conf.d/warren.conf " +
			"/run/hidden && systemctl restart systemd-networkd"
		w.on(t).shop.healed(fault{do: restart, back: "true", within: healWithin}, peer)
	})
	w.shop.sh("mv /run/hidden/00-warren.network /usr/lib/systemd/network/ && mv /run/hidden/warren.conf /usr/lib/systemd/networkd.conf.d/")
	w.shop.t.Run("networkd and NetworkManager with our files", func(t *testing.T) { leftAlone(w.on(t)) })
	if now := w.shop.lan(); now != lan {
		w.shop.t.Errorf("the LAN was\n%s\nand is\n%s", lan, now)
	}
}

// healed does something to the machine and measures there how long it takes until a condition holds and the peer
// answers. What it takes to look twice while all is well is logged beside it, and is in it: half a second in an emulated
// machine, and seconds where others use its processors.
func (m *machine) healed(f fault, peer string) {
	m.t.Helper()
	out := m.sh(fmt.Sprintf(`look() { { %s && ping -c 1 -W 1 %s; } >/dev/null 2>&1; }
read begin _ </proc/uptime
look && look
read looked _ </proc/uptime
{ %s; } >/dev/null 2>&1 || { echo it cannot be done; exit 1; }
read start _ </proc/uptime
for i in $(seq 400); do
	if look; then break; fi
	sleep 0.1
done
read end _ </proc/uptime
echo $begin $looked $start $end`, f.back, peer, f.do))
	var begin, looked, start, end float64
	if n, _ := fmt.Sscan(out, &begin, &looked, &start, &end); n != 4 {
		m.t.Fatalf("%s: %s", f.do, out)
	}
	took, looks := time.Duration((end-start)*float64(time.Second)), time.Duration((looked-begin)*float64(time.Second))
	m.t.Logf("back after %.1f s; to look twice took %.1f s", took.Seconds(), looks.Seconds())
	if took > f.within {
		m.t.Errorf("back after %v, want %v", took, f.within)
	}
	m.well()
}

// leftAlone restarts both network services where an admin's file matches all links there are: ours are not touched, and
// nothing in the tunnel is lost. The kernel itself tells of every touch. By default networkd 252 takes the address of its
// own links away when it starts, and gives it back 0.1 s later (0.4 s here), so that nothing leaves the host meanwhile,
// tunnels or not: the admin's word for that is KeepConfiguration=static.
func leftAlone(w *world) {
	m := w.shop
	const keep = "/etc/systemd/network/10-shop.network.d"
	before := m.tunnel()
	m.sh("printf '[Match]\\nName=*\\n[Network]\\nLinkLocalAddressing=no\\n' > /etc/systemd/network/90-all.network")
	m.sh("mkdir " + keep + " && printf '[Network]\\nKeepConfiguration=static\\n' > " + keep + "/keep.conf")
	m.sh("ip -o monitor link address route rule > /run/touches 2>&1 & echo $! > /run/touches.pid")
	s, lan := m.stream(w.warehouse, w.warehouse.well().Address), m.stream(w.warehouse, lanAddress(w.warehouse))
	m.sh("systemctl restart systemd-networkd")
	s.more(perSecond)
	m.sh("systemctl restart NetworkManager")
	s.more(2 * perSecond)
	var state string
	m.until(patience, "has a NetworkManager that knows the link", func() bool {
		state = m.sh("nmcli -t -f DEVICE,STATE device | grep ^wrn || true")
		return state != ""
	})
	if !strings.HasSuffix(state, ":unmanaged") {
		m.t.Errorf("NetworkManager looks after our link: %s", state)
	}
	if touches := m.sh("kill $(cat /run/touches.pid); grep wrn /run/touches || true"); touches != "" {
		m.t.Errorf("ours was touched:\n%s", touches)
	}
	m.sh("systemctl stop NetworkManager; rm /etc/systemd/network/90-all.network; systemctl restart systemd-networkd")
	m.same(before)
	s.lossless()
	lan.lossless()
	m.sh("rm -r " + keep)
}

// lan is all of the machine's network that is not ours.
func (m *machine) lan() string {
	m.t.Helper()
	return m.sh("ip addr show dev eth0; ip route show dev eth0; ip -6 route show dev eth0; ip rule")
}
