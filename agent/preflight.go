package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// mayEnroll reports whether this host can enrol at all, and what its kernel has. It is done where the host
// has come with the very token: whoever asks again has not heard the answer.
func (a *Agent) mayEnroll(ctx context.Context, token string) (now peers.State, done bool, err error) {
	var fault *wire.Fault
	err = a.do(ctx, func(ctx context.Context, l *loop) {
		done = l.me.member != nil && l.me.member.Token == token
		if !done {
			now, fault = l.mayEnroll(ctx)
		}
	})
	switch {
	case err != nil:
		return now, false, wire.NewFault(http.StatusServiceUnavailable, "agent-stopping", err.Error(),
			"systemctl status warren-agent")
	case fault != nil:
		return now, false, fault
	}
	return now, done, nil
}

func (l *loop) mayEnroll(ctx context.Context) (peers.State, *wire.Fault) {
	if m := l.me.member; m != nil {
		return peers.State{}, wire.NewFault(http.StatusConflict, "already-enrolled",
			fmt.Sprintf("this host is enrolled already, as %s", m.Name),
			"look at it with: warren status; to enrol it elsewhere, first: warren leave")
	}
	for _, p := range l.trouble[fromFiles] {
		return peers.State{}, wire.NewFault(http.StatusConflict, p.Code, p.Message, p.Hint)
	}
	state, err := l.Kernel.Observe(ctx)
	if err != nil {
		return state, wire.NewFault(http.StatusFailedDependency, codeBackend,
			"this host cannot have tunnels: "+err.Error(), "warren doctor")
	}
	return state, nil
}

// fits checks what the mesh needs of this host before the token is used: its ranges and its ports.
func (a *Agent) fits(ctx context.Context, e store.Enrolment, s peers.State) error {
	ranges := []netip.Prefix{e.Overlay}
	if s.IPv6 {
		ranges = append(ranges, e.Overlay6)
	}
	if ps := peers.OverlayConflicts(s.Foreign, ranges...); len(ps) > 0 {
		return wire.FaultOf(http.StatusConflict, ps)
	}
	for _, port := range []uint16{a.cfg.Port, a.cfg.Port + 1} {
		ours := slices.ContainsFunc(s.Links, func(l peers.Link) bool { return l.Port == port })
		if ours {
			continue
		}
		if err := portFree(ctx, port, s.IPv6); err != nil {
			return wire.NewFault(http.StatusConflict, "port-taken",
				fmt.Sprintf("UDP port %d is taken by another program: %v", port, err),
				fmt.Sprintf("find it with: ss -ulpn sport = :%d; or choose another: warren-agent run --port PORT", port))
		}
	}
	return nil
}

// portFree tries the port as a tunnel will use it: on all addresses of both families.
func portFree(ctx context.Context, port uint16, ipv6 bool) error {
	networks := []string{"udp4"}
	if ipv6 {
		networks = append(networks, "udp6")
	}
	for _, network := range networks {
		var config net.ListenConfig
		conn, err := config.ListenPacket(ctx, network, ":"+strconv.Itoa(int(port)))
		if err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return nil
}
