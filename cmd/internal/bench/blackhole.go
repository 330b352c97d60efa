package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/bench/load"
	"github.com/warren-mesh/warren/cmd/internal/lab"
)

const (
	calm          = 2 * time.Minute // before the controller goes: what an agent needs at first is not growth
	maxGrowth     = 2e6             // bytes of RSS
	maxLines      = 100             // of log
	trafficAtRest = 100             // datagrams per second
)

// blackholeRows takes the controller away without a sign, for as long as the settings say, and looks at what that
// does to an agent: its memory, its log and the traffic beside it.
func blackholeRows(ctx context.Context, s settings) ([]Row, error) {
	l, m, err := meshOf(ctx, s, "shop", "warehouse", "accounting")
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	from, err := endOf(ctx, l, m, "shop")
	if err != nil {
		return nil, err
	}
	to, err := endOf(ctx, l, m, "warehouse")
	if err != nil {
		return nil, err
	}
	packets, err := load.StartDatagrams([]load.Path{{From: from, To: to}}, trafficAtRest)
	if err != nil {
		return nil, err
	}
	if err := rest(ctx, calm); err != nil {
		return nil, err
	}
	agent := m.Agent("shop")
	before, said := processRSS(agent.PID()), len(agent.Log())
	cpu := processCPU(agent.PID())
	if err := l.Host(lab.DefaultController).Cut(); err != nil {
		return nil, err
	}
	last, most := before, before
	for end := time.Now().Add(s.black); time.Now().Before(end); {
		if err := rest(ctx, min(time.Minute, time.Until(end))); err != nil {
			return nil, err
		}
		last = processRSS(agent.PID())
		most = max(most, last)
		fmt.Fprintf(os.Stderr, "RSS %.2f MB, %d lines\n", float64(last)/1e6, strings.Count(agent.Log()[said:], "\n"))
	}
	cpu = processCPU(agent.PID()) - cpu
	counts, err := packets.Stop()
	if err != nil {
		return nil, err
	}
	total, lines := load.Total(counts), strings.Count(agent.Log()[said:], "\n")
	away := s.black.String() + " without the controller: "
	grown := float64(last - before)
	return []Row{
		{
			What: away + "growth of the agent's RSS (in between, at most)", Target: "< 2 MB", OK: grown < maxGrowth,
			Measured: fmt.Sprintf("%.1f MB (%.1f MB) from %.1f MB", grown/1e6, float64(most-before)/1e6, float64(before)/1e6),
		},
		{
			What: away + "lines in its log", Target: "< 100",
			Measured: fmt.Sprint(lines), OK: lines < maxLines,
		},
		{
			What: away + "CPU of the agent", Target: "",
			Measured: fmt.Sprintf("%.2f %%", 100*cpu.Seconds()/s.black.Seconds()), OK: true,
		},
		{
			What: away + "packets lost between two hosts", Target: "0",
			Measured: fmt.Sprintf("%d of %d", total.Lost, total.Sent), OK: total.Lost == 0 && total.Sent > 0,
		},
	}, nil
}

// rest waits.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// endOf is a host with its address in the mesh.
func endOf(ctx context.Context, l *lab.Lab, m *lab.Mesh, name string) (load.End, error) {
	addr, err := meshAddress(ctx, m, name)
	return load.End{Host: l.Host(name), Addr: addr}, err
}
