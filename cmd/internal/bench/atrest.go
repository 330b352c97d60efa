package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/bench/farm"
	"github.com/warren-mesh/warren/cmd/internal/bench/fleet"
	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	watched      = "shop"           // the host of the real agent
	farmHost     = "farm"           // the host of all others
	farmPort     = 20_000           // of the first; each has two, for the two slots
	settleAfter  = 90 * time.Second // after which an agent that has its peers is at rest
	maxRestCPU   = 0.003            // of a core
	maxRestRSS   = 40e6
	bringUpAfter = 10 * time.Minute
)

// atRestRows measures a real agent that has nothing to do: all its peers are simulated hosts, which have real ends of
// tunnels, and answer.
func atRestRows(ctx context.Context, s settings) ([]Row, error) {
	l, err := labOf(s, watched, farmHost)
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	m, err := join(ctx, l)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	f, ends, err := plant(ctx, l, m, s.peers)
	defer func() {
		stop()
		if f != nil {
			f.Join()
		}
		ends.close()
	}()
	if err != nil {
		return nil, err
	}
	agent, err := m.StartAgent(ctx, watched)
	if err != nil {
		return nil, err
	}
	if err := m.Enrol(ctx, watched, watched); err != nil && ctx.Err() != nil {
		return nil, err // not all peers may have answered within its minute
	}
	up, err := awaitUp(ctx, m, ends, s.peers)
	if err != nil {
		return nil, errors.Join(err, ends.failure())
	}
	if err := rest(ctx, settleAfter); err != nil {
		return nil, err
	}
	status, err := statusOf(ctx, m, watched)
	if err != nil {
		return nil, err
	}
	cpu := processCPU(agent.PID())
	if err := rest(ctx, s.rest); err != nil {
		return nil, err
	}
	share := (processCPU(agent.PID()) - cpu).Seconds() / s.rest.Seconds()
	rss := float64(processRSS(agent.PID()))
	what := fmt.Sprintf("agent at rest, %d peers (%d up), %s backend: ", s.peers, up, status.Backend)
	return []Row{
		{What: what + "CPU of a core", Target: "≤ 0.3 %", Measured: fmt.Sprintf("%.2f %%", 100*share), OK: share <= maxRestCPU},
		{What: what + "RSS", Target: "≤ 40 MB", Measured: fmt.Sprintf("%.1f MB", rss/1e6), OK: rss > 0 && rss <= maxRestRSS},
	}, nil
}

// ends are the farm's, added as the simulated hosts hear of the real one.
type ends struct {
	host *lab.Host
	at   netip.Addr // of the real host

	mu     sync.Mutex
	farm   farm.Farm
	met    map[int]bool
	failed error
}

// plant enrols n simulated hosts which will have ends of tunnels on the host of the farm.
func plant(ctx context.Context, l *lab.Lab, m *lab.Mesh, n int) (*fleet.Fleet, *ends, error) {
	e := &ends{host: l.Host(farmHost), at: l.Host(watched).IPv4(), met: map[int]bool{}}
	text, err := m.Token(ctx, "--site", "fleet", "--uses", fmt.Sprint(n))
	if err != nil {
		return nil, e, err
	}
	token, err := wire.ParseToken(text)
	if err != nil {
		return nil, e, err
	}
	f, err := fleet.Enroll(ctx, fleet.Options{
		Token: token, On: l.Host(lab.DefaultController).Do, Meet: watched, Met: e.add,
		Endpoint: func(i int) netip.AddrPort { return netip.AddrPortFrom(e.host.IPv4(), farmPort+2*uint16(i)) },
	}, n)
	if err != nil {
		return f, e, err
	}
	return f, e, f.Await(ctx)
}

// add makes the end of a simulated host.
func (e *ends) add(m fleet.Meeting) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.met[m.Index] || len(m.Peer.Keys) == 0 || len(m.Peer.Endpoints) == 0 {
		return
	}
	e.met[m.Index] = true
	k := m.Peer.Keys[0]
	err := e.host.Do(func() error {
		return e.farm.Add(farm.End{
			Private: m.Private[k.Generation], Port: farmPort + 2*uint16(m.Index) + uint16(k.Generation.Slot()), Peer: k.Public,
			PSK: m.PSKs[k.Generation][m.Peer.ID], At: m.Peer.Endpoints[0].At(k.Generation),
		})
	})
	e.failed = errors.Join(e.failed, err)
}

func (e *ends) failure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failed
}

func (e *ends) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.met)
}

func (e *ends) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.farm.Close()
}

// awaitUp waits until all peers are up, or nearly so, and says how many.
func awaitUp(ctx context.Context, m *lab.Mesh, e *ends, n int) (up int, err error) {
	ctx, cancel := context.WithTimeout(ctx, bringUpAfter)
	defer cancel()
	for {
		s, err := statusOf(ctx, m, watched)
		if err != nil {
			return 0, err
		}
		up = 0
		for _, p := range s.Peers {
			if p.State == wire.PeerUp {
				up++
			}
		}
		if up == n {
			return up, nil
		}
		fmt.Fprintf(os.Stderr, "%d of %d peers are up, %d ends are made, failures: %v\n", up, n, e.count(), e.failure())
		if err := rest(ctx, 5*time.Second); err != nil {
			return up, fmt.Errorf("%d of %d peers are up: %w", up, n, err)
		}
	}
}
