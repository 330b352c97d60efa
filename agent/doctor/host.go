package doctor

import (
	"bytes"
	"io/fs"
	"slices"
	"strconv"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

func (d *Doctor) backend(p *patient) wire.Finding {
	switch p.status.Backend {
	case "":
		message, hint := "neither WireGuard in the kernel nor tunnel processes work", "journalctl -u warren-agent"
		for _, problem := range p.status.Problems {
			if problem.Code == "backend" {
				message = problem.Message
			}
		}
		return finding("backend", failed, hint, "%s", message)
	case "userspace":
		return finding("backend", ok, "modprobe wireguard, where there is such a module, is faster",
			"this kernel has no WireGuard: each tunnel is a process of its own")
	}
	return finding("backend", ok, "", "WireGuard of the kernel")
}

func (d *Doctor) tun(p *patient) wire.Finding {
	if p.status.Backend == "kernel" {
		return finding("tun", skipped, "", "not needed: the kernel has WireGuard")
	}
	if err := d.Tun(); err != nil {
		return finding("tun", failed, "modprobe tun; in a container: --device /dev/net/tun and CAP_NET_ADMIN",
			"/dev/net/tun cannot be used: %v", err)
	}
	return finding("tun", ok, "", "/dev/net/tun can be used")
}

// ports checks that each interface really listens.
func (d *Doctor) ports(p *patient) []wire.Finding {
	var out []wire.Finding
	for _, in := range p.plan.Interfaces {
		link, there := p.state.LinkNamed(in.Name)
		switch {
		case !there:
			out = append(out, finding("port", failed, "journalctl -u warren-agent", "there is no interface %s", in.Name))
		case link.Port != in.Port:
			out = append(out, finding("port", failed, "find who has it: ss -ulpn sport = :"+strconv.Itoa(int(in.Port)),
				"%s listens on UDP port %d, and the others send to %d", in.Name, link.Port, in.Port))
		case link.Up && d.Free(in.Port):
			out = append(out, finding("port", failed, "ip link set "+in.Name+" down; the agent brings it up again",
				"%s does not listen on UDP port %d", in.Name, in.Port))
		default:
			out = append(out, finding("port", ok, "", "%s listens on UDP port %d", in.Name, in.Port))
		}
	}
	return out
}

// strict is the rp_filter that drops what comes in on another interface than answers would take: during a
// rotation that is every packet of a peer that has switched first.
const strict = 1

// reversePath works out the filter that counts: the higher of the interface's and that of all.
func (d *Doctor) reversePath(p *patient) []wire.Finding {
	all, err := d.setting("all")
	if err != nil {
		return []wire.Finding{finding("rp-filter", skipped, "", "the setting cannot be read: %v", err)}
	}
	var out []wire.Finding
	for _, in := range p.plan.Interfaces {
		own, err := d.setting(in.Name)
		if err != nil {
			continue // no such interface, which is said elsewhere
		}
		if max(all, own) == strict {
			out = append(out, finding("rp-filter", warning,
				"sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf."+in.Name+".rp_filter=2",
				"rp_filter is strict on %s (all: %d, %s: %d): packets are lost while keys rotate", in.Name, all, in.Name, own))
		}
	}
	if len(out) == 0 {
		out = append(out, finding("rp-filter", ok, "", "not strict on the tunnels"))
	}
	return out
}

func (d *Doctor) setting(name string) (int, error) {
	raw, err := fs.ReadFile(d.Root, "proc/sys/net/ipv4/conf/"+name+"/rp_filter")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(bytes.TrimSpace(raw)))
}

// routes reports prefixes that this host cannot have because it has networks of its own there.
func (p *patient) routes() []wire.Finding {
	var out []wire.Finding
	for _, problem := range peers.Conflicts(p.plan, p.state.Foreign) {
		out = append(out, finding("routes", failed, problem.Hint, "%s", problem.Message))
	}
	missing := 0
	for i := range p.plan.Peers {
		for _, prefix := range p.plan.Peers[i].Prefixes {
			there := slices.ContainsFunc(p.state.Routes, func(r peers.Route) bool { return r.Prefix == prefix && r.Link != "" })
			if !there && (prefix.Addr().Is4() || p.state.IPv6) {
				missing++
			}
		}
	}
	switch {
	case len(out) > 0:
	case missing > 0:
		out = append(out, finding("routes", failed, "ip route show proto 119", "%d routes of the mesh are missing", missing))
	default:
		out = append(out, finding("routes", ok, "", "no network of this host is in the way"))
	}
	return out
}
