package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/bench/fleet"
	"github.com/warren-mesh/warren/peers/wire"
)

// fleetRows measures a controller with many simulated agents.
func fleetRows(ctx context.Context, s settings) ([]Row, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	c, err := newController(s.bin)
	if err != nil {
		return nil, err
	}
	if err := c.start(ctx); err != nil {
		return nil, err
	}
	defer func() { _ = c.remove() }()
	var view wire.TokenView
	order := wire.TokenOrder{Site: "fleet", Uses: min(1000, s.hosts), TTL: 3600}
	if err := c.call(ctx, http.MethodPost, wire.PathTokens, order, &view); err != nil {
		return nil, err
	}
	token, err := wire.ParseToken(view.Token)
	if err != nil {
		return nil, err
	}
	agents, stop := context.WithCancel(ctx)
	start, cpu := time.Now(), c.cpu()
	f, err := fleet.Enroll(agents, fleet.Options{Token: token}, s.hosts-s.adds)
	defer func() {
		stop()
		f.Join()
	}()
	if err != nil {
		return nil, err
	}
	if err := f.Await(ctx); err != nil {
		return nil, fmt.Errorf("%w; %w", err, c.lastWords())
	}
	took := time.Since(start)
	rows := []Row{{
		What:     fmt.Sprintf("%d hosts enrolled and converged from nothing", s.hosts-s.adds),
		Measured: fmt.Sprintf("%.1f s (controller CPU %.1f s)", took.Seconds(), (c.cpu() - cpu).Seconds()),
		Target:   "≤ 10 s", OK: took <= 10*time.Second,
	}}
	joined, err := joins(agents, c, f, s.adds)
	rows = append(rows, joined...)
	if err != nil {
		return rows, err
	}
	turned, err := rotateFleet(ctx, c, f, s.hosts)
	rows = append(rows, turned...)
	if err != nil {
		return rows, err
	}
	again, err := restart(ctx, c, f)
	rows = append(rows, again)
	return rows, err
}

// joins measures what one more host costs. The hosts live until ctx ends.
func joins(ctx context.Context, c *controller, f *fleet.Fleet, n int) ([]Row, error) {
	var p50, p99 []time.Duration
	cpu, bytes := c.cpu(), f.Received()
	for range n {
		reached, err := f.Add(ctx)
		if err != nil {
			return nil, err
		}
		p50 = append(p50, reached[len(reached)/2])
		p99 = append(p99, reached[len(reached)*99/100])
	}
	if err := f.Await(ctx); err != nil {
		return nil, err
	}
	slices.Sort(p50)
	slices.Sort(p99)
	half, most := p50[n/2], p99[n/2]
	each := (c.cpu() - cpu) / time.Duration(n)
	size := float64(f.Received()-bytes) / float64(n) / 1e6
	rss := float64(processRSS(c.cmd.Process.Pid)) / (1 << 20)
	return []Row{
		{
			What: "a new host reaches all others, p50/p99 (median of joins)", Target: "≤ 30/75 ms",
			Measured: fmt.Sprintf("%.0f/%.0f ms", 1e3*half.Seconds(), 1e3*most.Seconds()),
			OK:       half <= 30*time.Millisecond && most <= 75*time.Millisecond,
		},
		{
			What: "controller CPU for it", Target: "≤ 0.05 s",
			Measured: fmt.Sprintf("%.3f s", each.Seconds()), OK: each <= 50*time.Millisecond,
		},
		{
			What: "on the wire for it, all agents, with TLS", Target: "≤ 1 MB",
			Measured: fmt.Sprintf("%.2f MB", size), OK: size <= 1,
		},
		{
			What: "RSS of the controller with all streams open", Target: "≤ 120 MiB",
			Measured: fmt.Sprintf("%.0f MiB", rss), OK: rss <= 120,
		},
	}, nil
}

// restart measures how long a killed controller takes until all agents are in sync again.
func restart(ctx context.Context, c *controller, f *fleet.Fleet) (Row, error) {
	c.kill()
	f.Lost()
	start := time.Now()
	if err := c.start(ctx); err != nil {
		return Row{}, err
	}
	if err := f.Await(ctx); err != nil {
		return Row{}, err
	}
	took := time.Since(start)
	return Row{
		What: "controller killed and started: all in sync again", Target: "≤ 3 s",
		Measured: fmt.Sprintf("%.1f s", took.Seconds()), OK: took <= 3*time.Second,
	}, nil
}
