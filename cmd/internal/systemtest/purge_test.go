package systemtest

import (
	"slices"
	"strings"
	"sync"
)

// A snapshotScript tells all of the machine that a package may have changed: files with their modes and owners, contents of
// /etc, users, units, and the network. What changes by itself is left out.
const snapshotScript = `export LC_ALL=C
systemctl is-system-running --wait >/dev/null || true
find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /dev -o -path /payload -o -path /tmp -o -path /var/tmp \
	-o -path /var/log -o -path /var/lib/dpkg -o -path /var/lib/systemd -o -path /var/lib/NetworkManager -o -path /var/lib/hand \
	-o -path /var/cache -o -path /root -o -path '/etc/*-' -o -path /etc/.pwd.lock -o -path /etc/machine-id \
	-o -path /etc/udev/hwdb.bin \) -prune -o -printf 'file %p %M %u %g\n' | sort
find /etc -type f ! -name '*-' ! -name machine-id ! -name ld.so.cache -exec sha256sum {} + | sort -k2
find /run -name '*warren*' -o -name 'wrn*' -o -path /run/wireguard | sort
getent passwd | sort; getent group | sort
units=$(systemctl list-unit-files --no-legend --no-pager --type=service,target,timer,socket,path,mount) || exit 1
echo "$units" | awk '{print "unit", $1, $2}' | grep -v '@.*-'
ip -br link | awk '{print "link", $1}'
ip -br addr
ip route show table all | sort; ip -6 route show table all | sed 's/expires [0-9]*sec//' | sort; ip rule; ip -6 rule
nft list ruleset
grep -r . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv?/conf/all /proc/sys/net/ipv?/conf/default /proc/sys/net/ipv?/conf/eth0 2>/dev/null
pgrep -a warren || true`

// snapshots are those of all machines, by name.
func (w *world) snapshots() map[string]string {
	w.shop.t.Helper()
	machines := []*machine{w.shop, w.warehouse}
	texts := make([]string, len(machines))
	var both sync.WaitGroup
	for i, m := range machines {
		both.Go(func() {
			r, err := m.try(snapshotScript)
			if err != nil || r.Code != 0 {
				m.t.Errorf("%s: no snapshot: %v, exit code %d\n%s", m.name, err, r.Code, r.Stderr)
			}
			texts[i] = r.Stdout
		})
	}
	both.Wait()
	return map[string]string{w.shop.name: texts[0], w.warehouse.name: texts[1]}
}

// purged takes the packages away: removed, they leave the host as it was but for what the agent knows; purged, they
// leave nothing.
func purged(w *world, bare map[string]string) {
	for _, m := range []*machine{w.shop, w.warehouse} {
		before := m.well()
		link := before.Peers[0].Interface
		said := m.sh("dpkg -r warren-agent 2>&1")
		if !strings.Contains(said, "/var/lib/warren-agent") {
			m.t.Errorf("%s: removal does not say what it leaves:\n%s", m.name, said)
		}
		m.sh("test -s /var/lib/warren-agent/identity")
		if m.is("ip link show "+link) || m.is("nft list table inet warren") || m.is("ip route show table all proto 119 | grep -q .") {
			m.t.Errorf("%s: removal leaves links, rules or routes:\n%s", m.name, m.sh("ip -br link; ip route; nft list ruleset"))
		}
		m.install(m.sh("dpkg-query -W -f '${Version}' warren"), "warren-agent")
		if after := m.well(); after.ID != before.ID {
			m.t.Errorf("%s: installed again it is %s, before %s", m.name, after.ID, before.ID)
		}
	}
	for _, m := range []*machine{w.shop, w.warehouse} {
		m.sh("dpkg -P warren-agent && if dpkg -s warren-controller >/dev/null 2>&1; then dpkg -P warren-controller; fi && dpkg -P warren")
	}
	now := w.snapshots()
	for _, m := range []*machine{w.shop, w.warehouse} {
		if left := difference(bare[m.name], now[m.name]); left != "" {
			m.t.Errorf("%s is not as it was before the installation:\n%s", m.name, left)
		}
	}
}

// difference lists the lines that only one of the texts has.
func difference(before, after string) string {
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	var out []string
	for _, line := range a {
		if !slices.Contains(b, line) {
			out = append(out, "- "+line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			out = append(out, "+ "+line)
		}
	}
	return strings.Join(out, "\n")
}
