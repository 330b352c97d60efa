// Package doctor looks for the known causes of trouble on a host, each with the remedy that helps. It looks
// and asks, and changes nothing.
package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Results of a check.
const (
	ok      = "ok"
	warning = "warning"
	failed  = "failed"
	skipped = "skipped"
)

// Prober asks other agents through the tunnel.
type Prober interface {
	Ping(ctx context.Context, to netip.Addr, mtu, count int, each func(wire.PingReply)) (wire.PingSummary, error)
}

// A Doctor examines one host.
type Doctor struct {
	Prober Prober
	Root   fs.FS                         // the file system, for settings of the kernel
	Tun    func() error                  // opens what tunnel processes need, and closes it again
	Free   func(port uint16) (free bool) // reports whether nobody listens on a UDP port
	// Drops names the chain of a foreign firewall that drops handshakes at a port, and whether a rule or the
	// policy does.
	Drops func(port uint16) (chain, by string, err error)
	// DropsForwarded does so for connections that this host forwards from one network to another, link to link.
	DropsForwarded func(from, to netip.Prefix, in, out string) (chain, by string, err error)
	// Send sends a datagram that means nothing, and fails with what the network says of it, if anything.
	Send func(ctx context.Context, to netip.AddrPort) error
	// Resolve looks up the addresses of a name.
	Resolve func(ctx context.Context, name string) error
}

// A patient is what is known before anything is asked.
type patient struct {
	status wire.Status
	plan   peers.Plan // zero before there is one
	state  peers.State
	ahead  time.Duration
}

// Examine makes all checks that make sense for the host as it is.
func (d *Doctor) Examine(ctx context.Context, s wire.Status, p peers.Plan, now peers.State, ahead time.Duration) []wire.Finding {
	pt := &patient{status: s, plan: p, state: now, ahead: ahead}
	out := []wire.Finding{pt.enrolled(), d.backend(pt), d.tun(pt), pt.ipv6()}
	if s.State == wire.StateUnenrolled {
		return append(out, pt.problems()...)
	}
	out = append(out, pt.controller(), pt.identity(), pt.clock())
	out = append(out, d.names(ctx, pt)...)
	out = append(out, d.ports(pt)...)
	out = append(out, d.firewall(pt)...)
	out = append(out, pt.reversePath()...)
	out = append(out, pt.forwarding()...)
	out = append(out, pt.routes()...)
	out = append(out, pt.peers()...)
	out = append(out, d.ways(ctx, pt)...)
	out = append(out, d.mtu(ctx, pt)...)
	return append(out, pt.problems()...)
}

func finding(check, result, hint, format string, args ...any) wire.Finding {
	return wire.Finding{Check: check, Result: result, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func (p *patient) enrolled() wire.Finding {
	s := &p.status
	if s.State == wire.StateUnenrolled {
		return finding("enrolled", failed, "get a token from an admin, then: warren enroll TOKEN", "this host is not enrolled")
	}
	if s.Revision == 0 && p.plan.Revision == 0 { // one that could not be carried out yet is there; why, others say
		return finding("enrolled", warning, "warren status", "this host is enrolled as %s and has no plan yet", s.Host)
	}
	return finding("enrolled", ok, "", "this host is %s in the mesh %s, site %s", s.Host, s.Mesh, s.Site)
}

func (p *patient) controller() wire.Finding {
	c := &p.status.Controller
	if c.Connected {
		return finding("controller", ok, "", "connected to %s, whose identity is the pinned one", c.Address)
	}
	hint := "does warren-controller run, and does a firewall let this host reach its TCP port? Tunnels stay as they are meanwhile"
	for _, problem := range p.status.Problems {
		if problem.At == "controller" && problem.Hint != "" {
			hint = problem.Hint
		}
	}
	return finding("controller", failed, hint, "not connected: %s", c.Error)
}

// identity says whether somebody else uses this host's identity: only the controller knows.
func (p *patient) identity() wire.Finding {
	for _, problem := range p.status.Problems {
		if problem.Code == "identity-in-use" {
			return finding("identity", failed, problem.Hint, "%s", problem.Message)
		}
	}
	if !p.status.Controller.Connected {
		return finding("identity", skipped, "", "whether another host uses it, the controller knows, which is not reached")
	}
	return finding("identity", ok, "", "the controller takes this host for the one that has it, and refuses any other")
}

// clockTolerance is what a clock may differ without harm to anything.
const clockTolerance = time.Minute

func (p *patient) clock() wire.Finding {
	back, isBack := p.problem(codeClockBack, "clock")
	switch {
	case isBack:
		return finding("clock", warning, back.Hint, "%s", back.Message)
	case p.status.Controller.LastContact == nil:
		return finding("clock", skipped, "", "compared with the controller's, which was not reached")
	case p.ahead.Abs() > clockTolerance:
		return finding("clock", warning, "timedatectl set-ntp true",
			"differs by %v from the controller's: peers refuse handshakes of a clock that went back", p.ahead.Abs().Round(time.Second))
	}
	return finding("clock", ok, "", "agrees with the controller's")
}

func (p *patient) ipv6() wire.Finding {
	if !p.state.IPv6 {
		return finding("ipv6", skipped, "", "this host has no IPv6; the mesh does without")
	}
	return finding("ipv6", ok, "", "available")
}

// Codes of problems that the agent finds by itself and a check here names.
const (
	codeClockBack = "clock-back"
	codePortTaken = "port-taken"
)

// problem is what the status says under a code of a thing, if it does.
func (p *patient) problem(code, at string) (peers.Problem, bool) {
	for _, problem := range p.status.Problems {
		if problem.Code == code && problem.At == at {
			return problem, true
		}
	}
	return peers.Problem{}, false
}

// problems are those of the status that no check of its own has named.
func (p *patient) problems() []wire.Finding {
	var out []wire.Finding
	for _, problem := range p.status.Problems {
		named := []string{"route-conflict", "clock", codeClockBack, "backend", blackHole, peers.CodeForwarding}
		if p.ourPort(problem) {
			continue
		}
		if slices.Contains(named, problem.Code) || problem.At == "controller" {
			continue
		}
		out = append(out, finding(problem.Code, failed, problem.Hint, "%s", problem.Message))
	}
	return out
}
