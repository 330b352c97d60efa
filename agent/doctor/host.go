package doctor

import (
	"io/fs"
	"slices"
	"strconv"
	"strings"

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
		if _, err := fs.Stat(d.Root, "sys/module/wireguard"); err == nil {
			return finding("backend", warning,
				"systemctl restart warren-agent, then for each interface in turn: ip link delete wrn0; the agent makes it anew",
				"the kernel has WireGuard by now, and each tunnel is still a process of its own, which is slower")
		}
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
		taken, isTaken := p.problem(codePortTaken, portName(in.Port))
		switch {
		case isTaken:
			out = append(out, finding("port", failed, taken.Hint, "%s", taken.Message))
		case !there:
			out = append(out, finding("port", failed, "journalctl -u warren-agent", "there is no interface %s", in.Name))
		case link.Port != in.Port:
			out = append(out, finding("port", failed, "find who has it: ss -ulpn sport = :"+strconv.Itoa(int(in.Port)),
				"%s listens on UDP port %d, and the others send to %d", in.Name, link.Port, in.Port))
		case !link.Up:
			out = append(out, finding("port", failed, "journalctl -u warren-agent", "%s is down, and nobody is heard at UDP port %d",
				in.Name, in.Port))
		case d.Free(in.Port):
			out = append(out, finding("port", failed, "ip link set "+in.Name+" down; the agent brings it up again",
				"%s does not listen on UDP port %d", in.Name, in.Port))
		default:
			out = append(out, finding("port", ok, "", "%s listens on UDP port %d", in.Name, in.Port))
		}
	}
	return out
}

// portName is what problems of a UDP port are about.
func portName(port uint16) string { return "port/" + strconv.Itoa(int(port)) }

// ourPort says that a problem is about the port of an interface that is planned, which ports names.
func (p *patient) ourPort(problem peers.Problem) bool {
	return problem.Code == codePortTaken && slices.ContainsFunc(p.plan.Interfaces, func(in peers.Interface) bool {
		return problem.At == portName(in.Port)
	})
}

// reversePath looks at the filter of our links. A strict one drops what comes in on another interface than
// answers would take: during a rotation that is every packet of a peer that has switched first.
func (p *patient) reversePath() []wire.Finding {
	var out []wire.Finding
	for _, in := range p.plan.Interfaces {
		link, there := p.state.LinkNamed(in.Name)
		if there && link.RPFilter != peers.LooseRPFilter {
			out = append(out, finding("rp-filter", warning,
				"find what sets it, among /etc/sysctl.d and tuning tools; the agent sets it back: journalctl -u warren-agent",
				"rp_filter of %s is %d and not %d: packets may be lost while keys rotate", in.Name, link.RPFilter, peers.LooseRPFilter))
		}
	}
	if len(out) == 0 {
		out = append(out, finding("rp-filter", ok, "", "not strict on the tunnels"))
	}
	return out
}

// forwarding looks at what a gateway of a site needs, and says nothing on other hosts.
func (p *patient) forwarding() []wire.Finding {
	networks := p.plan.Forwards()
	if len(networks) == 0 {
		return nil
	}
	var out []wire.Finding
	for _, problem := range p.status.Problems {
		if problem.Code == peers.CodeForwarding {
			out = append(out, finding("forwarding", failed, problem.Hint, "%s", problem.Message))
		}
	}
	for _, step := range peers.Diff(p.state, p.plan) {
		if s, ok := step.(peers.SetForwarding); ok && s.On {
			out = append(out, finding("forwarding", failed,
				"the agent sets it, within seconds; if it stays: journalctl -u warren-agent; who else sets it? grep -r forward /etc/sysctl.d",
				"the others reach %v by way of this host, which does not forward what comes in by %s: %v is not set",
				networks, s.Link, strings.TrimPrefix(s.String(), "sysctl ")))
		}
	}
	if len(out) == 0 {
		out = append(out, finding("forwarding", ok, "", "forwards between the mesh and %v", networks))
	}
	return out
}

// routes reports prefixes that this host cannot have because it has networks of its own there.
func (p *patient) routes() []wire.Finding {
	var out []wire.Finding
	for _, problem := range peers.Conflicts(p.plan, p.state.Foreign) {
		out = append(out, finding("routes", failed, problem.Hint, "%s", problem.Message))
	}
	missing := 0
	behind := p.plan.Behind()
	for i := range p.plan.Peers {
		for _, prefix := range slices.Concat(p.plan.Peers[i].Prefixes, behind[p.plan.Peers[i].ID]) {
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
