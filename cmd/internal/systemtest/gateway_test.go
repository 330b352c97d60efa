package systemtest

import "strings"

// forwards makes a gateway of the warehouse, whose agent is shut in by its unit and no root: it forwards on the link to
// its LAN, has the site's virtual addresses there and asks a host of the LAN, and all is as before when it is none any
// more.
func forwards(w *world) {
	m := w.warehouse
	m.sh("ip netns add lan && ip link add lan0 type veth peer name lan1 netns lan && ip link set lan0 up && ip -n lan link set lan1 up")
	m.sh("ip addr add 10.20.0.2/24 dev lan0 && ip addr add fd20::2/64 dev lan0 nodad")
	const populate = "ip -n lan addr add 10.20.0.9/24 dev lan1 && ip -n lan addr add fd20::9/64 dev lan1 nodad"
	m.sh(populate)
	defer m.sh("ip link del lan0; ip netns del lan")
	settings := func() string {
		return m.sh("cat /proc/sys/net/ipv4/conf/lan0/forwarding /proc/sys/net/ipv4/conf/lan0/tag /proc/sys/net/ipv4/conf/eth0/forwarding; " +
			"cat /proc/sys/net/ipv6/conf/lan0/force_forwarding 2>/dev/null; ip -br addr show dev lan0 scope global")
	}
	was := settings()
	each := m.is("test -e /proc/sys/net/ipv6/conf/lan0/force_forwarding")
	m.sh("warren site add warehouse --prefix 10.20.0.0/24 --prefix fd20::/64 --gateway warehouse")
	m.until(patience, "the warehouse forwards on its LAN", func() bool {
		now := strings.Fields(settings())
		return now[0] == "1" && now[1] != "0" && now[2] == "0" && (!each || now[3] == "1")
	})
	if !each {
		m.until(patience, "that IPv6 is not forwarded is said", func() bool {
			return m.is("warren doctor | grep -q 'older than 6.17'")
		})
	}
	// What an agent would have to write there, where the kernel has it, its unit lets it.
	m.sh("nsenter -m -t $(systemctl show -p MainPID --value warren-agent) sh -c " +
		"'cat /proc/sys/net/ipv6/conf/lan0/hop_limit > /proc/sys/net/ipv6/conf/lan0/hop_limit'")
	if m.is("nsenter -m -t $(systemctl show -p MainPID --value warren-agent) sh -c " +
		"'cat /proc/sys/net/ipv4/ip_forward > /proc/sys/net/ipv4/ip_forward'") {
		m.t.Error("the agent's unit lets it write all settings of the network")
	}
	m.sh("warren site set warehouse --virtual-ip 10.20.0.1 --virtual-ip fd20::1 --lan-check 10.20.0.9")
	m.until(patience, "its LAN reaches the virtual addresses", func() bool {
		return m.is("ip netns exec lan ping -c 1 -W 1 10.20.0.1 && ip netns exec lan ping -c 1 -W 1 fd20::1")
	})
	silent := func() bool { return m.is("warren status | grep -q lan-silent") }
	m.until(patience, "the LAN answers", func() bool { return !silent() && m.is("warren status | grep -q 10.20.0.9") })
	m.sh("ip -n lan addr flush dev lan1")
	m.until(patience, "the silence of the LAN is noticed", silent)
	m.sh(populate)
	m.until(patience, "the LAN answers again", func() bool { return !silent() })
	m.sh("warren site set warehouse --no-virtual-ip --no-gateways --lan-check none --remove-prefix 10.20.0.0/24 --remove-prefix fd20::/64")
	m.until(patience, "the settings are as before", func() bool { return settings() == was })
	m.well()
}
