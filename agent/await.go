package agent

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/warren-mesh/warren/peers/wire"
)

// await tells how a new member comes up, until every peer that can be reached has answered.
func (a *Agent) await(ctx context.Context, tell func(wire.Progress)) error {
	told := map[string]bool{}
	once := func(step, message string) {
		if !told[step+message] {
			told[step+message] = true
			tell(wire.Progress{Step: step, Message: message})
		}
	}
	for {
		n, next := a.board.watch()
		switch {
		case n.refused != nil:
			return n.refused
		case n.plan != nil:
			once(stepPlan, fmt.Sprintf("plan applied: %d peers", len(n.plan.Peers)))
			for _, name := range names(n, wire.PeerUp) {
				once(stepPeers, name+" answers")
			}
			if n.trying == 0 {
				tell(end(n))
				return nil
			}
		case n.pending:
			once(stepApproval, approval(n))
		}
		select {
		case <-next:
		case <-a.board.closed:
			return wire.NewFault(http.StatusServiceUnavailable, "agent-stopping", errStopped.Error(), "systemctl status warren-agent")
		case <-ctx.Done():
			return giveUp(a.board.look(), tell)
		}
	}
}

func approval(n notice) string {
	return "waits for an admin: warren host approve " + n.status.Host
}

// giveUp is the end for want of time. The agent itself goes on.
func giveUp(n notice, tell func(wire.Progress)) error {
	switch {
	case n.plan != nil:
		tell(end(n))
		return nil
	case n.pending:
		tell(wire.Progress{Step: stepApproval, Message: approval(n), Done: true, Status: &n.status})
		return nil
	}
	detail := []string{"enrolled, but there is no plan from the controller yet"}
	for _, p := range n.status.Problems {
		detail = append(detail, p.Message)
	}
	return wire.NewFault(http.StatusGatewayTimeout, "enrolment-slow", strings.Join(detail, "; "),
		"the agent goes on trying: warren status")
}

// end sums up.
func end(n notice) wire.Progress {
	message := fmt.Sprintf("%d of %d peers answer", len(names(n, wire.PeerUp)), len(n.status.Peers))
	silent := append(names(n, wire.PeerConnecting), names(n, wire.PeerDown)...)
	if len(silent) > mostHosts {
		silent = append(silent[:mostHosts], "…")
	}
	if len(silent) > 0 {
		message += "; not yet: " + strings.Join(silent, ", ")
	}
	return wire.Progress{Step: stepPeers, Message: message, Done: true, Status: &n.status}
}

// names are the peers in a state.
func names(n notice, state string) (out []string) {
	for _, p := range n.status.Peers {
		if p.State == state {
			out = append(out, p.Host)
		}
	}
	return out
}
