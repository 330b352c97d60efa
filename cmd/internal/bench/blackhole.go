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
	alone := aloneness{agent: m.Agent("shop")}
	if err := alone.measure(ctx, l, s.black); err != nil {
		return nil, err
	}
	counts, err := packets.Stop()
	if err != nil {
		return nil, err
	}
	away, total := s.black.String()+" without the controller: ", load.Total(counts)
	return append(alone.rows(away, s.black), Row{
		What: away + "packets lost between two hosts", Target: "0",
		Measured: fmt.Sprintf("%d of %d", total.Lost, total.Sent), OK: total.Lost == 0 && total.Sent > 0,
	}), nil
}

// An aloneness is what the time without a controller does to an agent.
type aloneness struct {
	agent              *lab.Daemon
	before, last, most int64 // bytes of RSS
	cpu                time.Duration
	lines              int // of log
}

// measure takes the controller away, and looks at the agent once a minute.
func (a *aloneness) measure(ctx context.Context, l *lab.Lab, black time.Duration) error {
	said := len(a.agent.Log())
	cpu := processCPU(a.agent.PID())
	a.before = processRSS(a.agent.PID())
	if err := l.Host(lab.DefaultController).Cut(); err != nil {
		return err
	}
	a.last, a.most = a.before, a.before
	for end := time.Now().Add(black); time.Now().Before(end); {
		if err := rest(ctx, min(time.Minute, time.Until(end))); err != nil {
			return err
		}
		a.last = processRSS(a.agent.PID())
		a.most = max(a.most, a.last)
		a.lines = strings.Count(a.agent.Log()[said:], "\n")
		fmt.Fprintf(os.Stderr, "RSS %.2f MB, %d lines\n", float64(a.last)/1e6, a.lines)
	}
	a.cpu = processCPU(a.agent.PID()) - cpu
	return nil
}

func (a *aloneness) rows(away string, black time.Duration) []Row {
	grown := float64(a.last - a.before)
	return []Row{
		{
			What: away + "growth of the agent's RSS (in between, at most)", Target: "< 2 MB", OK: grown < maxGrowth,
			Measured: fmt.Sprintf("%.1f MB (%.1f MB) from %.1f MB", grown/1e6, float64(a.most-a.before)/1e6, float64(a.before)/1e6),
		},
		{
			What: away + "lines in its log", Target: "< 100",
			Measured: fmt.Sprint(a.lines), OK: a.lines < maxLines,
		},
		{
			What: away + "CPU of the agent", Target: "",
			Measured: fmt.Sprintf("%.2f %%", 100*a.cpu.Seconds()/black.Seconds()), OK: true,
		},
	}
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
