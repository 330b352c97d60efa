package doctor

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// blackHole is the problem that a check of its own finds out anew.
const blackHole = "mtu-black-hole"

// Limits of probing: a doctor is called by people who wait.
const (
	probeMost   = 32 // peers
	probeAtOnce = 8
	probeCount  = 2
)

// peers says of each why it does not answer, as far as this end can tell.
func (p *patient) peers() []wire.Finding {
	candidates, keyed := map[peers.HostID][]peers.Endpoint{}, map[peers.HostID]bool{}
	for i := range p.plan.Peers {
		candidates[p.plan.Peers[i].ID] = p.plan.Peers[i].Endpoints
		keyed[p.plan.Peers[i].ID] = len(p.plan.Peers[i].Keys) > 0
	}
	out := make([]wire.Finding, 0, len(p.status.Peers))
	for i := range p.status.Peers {
		row := &p.status.Peers[i]
		if row.Interface == "" && keyed[row.ID] {
			out = append(out, finding("peer/"+row.Host, failed, "see what else is said here, of ports and interfaces",
				"this host has no interface with it yet"))
			continue
		}
		out = append(out, peer(row, candidates[row.ID]))
	}
	return out
}

func peer(row *wire.PeerStatus, candidates []peers.Endpoint) wire.Finding {
	check := "peer/" + row.Host
	switch {
	case row.State == wire.PeerUp:
		return finding(check, ok, "", "answers at %s", row.Endpoint)
	case row.Interface == "":
		return finding(check, failed, "warren host show "+row.Host+", on the controller",
			"it is on no interface of this host: it has not reported a key yet")
	case len(candidates) == 0:
		return finding(check, failed, "start its agent with: --endpoint ADDRESS",
			"it is not known where to reach it, and it has not reached this host")
	}
	tried := make([]string, len(candidates))
	for i, c := range candidates {
		tried[i] = fmt.Sprintf("%v (%s)", c.At(row.Generation), c.Kind)
	}
	hint := "is the host up, and does each firewall on the way let UDP to these ports through? On it: warren doctor"
	return finding(check, failed, hint, "%s; tried %s", silence(row), strings.Join(tried, ", "))
}

// silence tells the ways of not answering apart.
func silence(row *wire.PeerStatus) string {
	switch {
	case row.LastHandshake != nil:
		return "it has not answered since " + row.LastHandshake.Format(time.RFC3339)
	case row.RxBytes > 0:
		return "something arrives from it, and yet there is no handshake: do the keys or the clocks differ?"
	case row.TxBytes == 0:
		return "nothing was sent to it yet"
	}
	return "it was never heard"
}

// mtu probes the tunnels that are up.
func (d *Doctor) mtu(ctx context.Context, p *patient) []wire.Finding {
	var rows []*wire.PeerStatus
	for i := range p.status.Peers {
		if row := &p.status.Peers[i]; row.State == wire.PeerUp && row.Address.IsValid() && len(rows) < probeMost {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return []wire.Finding{finding("mtu", skipped, "", "no peer is up to be asked")}
	}
	out := make([]wire.Finding, len(rows))
	gate := make(chan struct{}, probeAtOnce)
	var all sync.WaitGroup
	for i, row := range rows {
		all.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			out[i] = d.probe(ctx, p, row)
		})
	}
	all.Wait()
	return out
}

func (d *Doctor) probe(ctx context.Context, p *patient, row *wire.PeerStatus) wire.Finding {
	check := "mtu/" + row.Host
	link, there := p.state.LinkNamed(row.Interface)
	if !there {
		return finding(check, skipped, "", "its interface %s is gone", row.Interface)
	}
	most := p.promised(row, link)
	sum, err := d.Prober.Ping(ctx, row.Address, most, probeCount, func(wire.PingReply) {})
	switch {
	case err != nil:
		return finding(check, failed, "ip route get "+row.Address.String(), "cannot be asked: %v", err)
	case sum.Received == 0:
		return finding(check, warning, "on "+row.Host+": systemctl status warren-agent",
			"the tunnel is up, and the agent of %s does not answer through it", row.Host)
	case sum.PathMTU < most:
		return finding(check, warning, fmt.Sprintf("let ICMP through on the way (fragmentation needed, packet too big); "+
			"or for all hosts, on the controller: warren mesh set mtu=%d", max(sum.PathMTU, peers.LeastMTU)),
			"packets of more than %d bytes are lost on the way, which promises %d, and no router says so", sum.PathMTU, most)
	}
	return finding(check, ok, "", "packets of up to %d bytes arrive, round trip %.1f ms", sum.PathMTU, sum.Mean*1000)
}
