package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/bench/fleet"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	maxFleetRotation = 120 * time.Second
	maxFleetCPU      = 60 * time.Second
)

// rotateFleet rotates all keys of a full mesh of simulated hosts.
func rotateFleet(ctx context.Context, c *controller, f *fleet.Fleet, hosts int) ([]Row, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	start, cpu, bytes := time.Now(), c.cpu(), f.Received()
	var v wire.RotationView
	if err := c.call(ctx, http.MethodPost, wire.PathRotation, wire.RotationOrder{Why: "measured"}, &v); err != nil {
		return nil, err
	}
	for v.Phase != peers.PhaseIdle {
		if err := rest(ctx, time.Second); err != nil {
			return nil, fmt.Errorf("rotation of %d hosts: %w: %.500s", hosts, err, fmt.Sprintf("%+v", v))
		}
		if err := c.call(ctx, http.MethodGet, wire.PathRotation, nil, &v); err != nil {
			return nil, err
		}
	}
	took, used := time.Since(start), c.cpu()-cpu
	what := fmt.Sprintf("rotation of %d hosts, full mesh: ", hosts)
	return []Row{
		{What: what + "duration", Target: "≤ 120 s", Measured: fmt.Sprintf("%.0f s", took.Seconds()), OK: took <= maxFleetRotation},
		{What: what + "controller CPU", Target: "≤ 60 s", Measured: fmt.Sprintf("%.1f s", used.Seconds()), OK: used <= maxFleetCPU},
		{
			What: what + "on the wire, all agents, with TLS", Target: "", OK: true,
			Measured: fmt.Sprintf("%.0f MB", float64(f.Received()-bytes)/1e6),
		},
		{
			What: what + "RSS of the controller after it", Target: "", OK: true,
			Measured: fmt.Sprintf("%.0f MiB", float64(processRSS(c.cmd.Process.Pid))/(1<<20)),
		},
	}, nil
}
