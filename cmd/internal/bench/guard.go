package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/warren-mesh/warren/agent/linux"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/cmd/internal/bench/load"
	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
)

const (
	guardRules     = 1000
	lastRulePort   = 19_999 // of the flow that is written to disk last
	replacements   = 50
	replaceEvery   = 100 * time.Millisecond
	maxReplace     = 50 * time.Millisecond
	leastGuarded   = 0.97
	agentDir       = "/var/lib/warren-agent"
	guardWithin    = 2 * time.Minute
	firstRulePort  = 10_000
	measuredPorts  = "20000-65535"
	labelsInPolicy = 20
)

// guardRows measures what 1,000 rules cost: the rate of a tunnel against the same without any rule, and what happens to
// traffic while the rules are replaced. The rules are those that real agents have made of a real policy; the agents are
// stopped then, so that nobody puts them back.
func guardRows(ctx context.Context, s settings) ([]Row, error) {
	l, m, err := meshOf(ctx, s, "shop", "warehouse")
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	status, err := statusOf(ctx, m, "warehouse")
	if err != nil {
		return nil, err
	}
	path := load.Path{}
	if path.From, err = endOf(ctx, l, m, "shop"); err != nil {
		return nil, err
	}
	if path.To, err = endOf(ctx, l, m, "warehouse"); err != nil {
		return nil, err
	}
	if err := lockDown(ctx, m); err != nil {
		return nil, err
	}
	var walls []*wall
	for _, name := range []string{"shop", "warehouse"} {
		w, err := wallOf(ctx, l, m, name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = w.kernel.Close() }()
		walls = append(walls, w)
	}
	rows, err := replaceRows(ctx, walls[1], path, status.Backend, s.pps)
	if err != nil {
		return rows, err
	}
	rates, err := guardedRows(ctx, l, walls, status.Address, status.Backend, s.turns)
	return append(rows, rates...), err
}

// lockDown writes a policy whose flows all end at the warehouse, but for one back to the shop.
func lockDown(ctx context.Context, m *lab.Mesh) error {
	var text strings.Builder
	const measured = "icmp, tcp/" + measuredPorts + ", udp/" + measuredPorts
	text.WriteString("flows:\n  - {from: host:warehouse, to: host:shop, allow: [" + measured + "]}\n")
	for i := range guardRules - 2 {
		from := []string{
			"host:shop", "site:shop", fmt.Sprintf("label:l%d=yes", i%labelsInPolicy), fmt.Sprintf("10.90.%d.0/24", i%8),
		}[i%4]
		fmt.Fprintf(&text, "  - {from: %q, to: host:warehouse, allow: [tcp/%d]}\n", from, firstRulePort+i)
	}
	fmt.Fprintf(&text, "  - {from: host:shop, to: host:warehouse, allow: [tcp/%d, %s]}\n", lastRulePort, measured)
	labels := []string{"host", "label", "shop"}
	for i := range labelsInPolicy {
		labels = append(labels, fmt.Sprintf("l%d=yes", i))
	}
	if out, err := m.Warren(ctx, lab.DefaultController, labels...).CombinedOutput(); err != nil {
		return fmt.Errorf("warren host label: %v\n%s", err, out)
	}
	apply := m.Warren(ctx, lab.DefaultController, "policy", "apply", "-")
	apply.Stdin = strings.NewReader(text.String())
	if out, err := apply.CombinedOutput(); err != nil {
		return fmt.Errorf("warren policy apply: %v\n%s", err, out)
	}
	return nil
}

// A wall is the guard of a host whose agent has been stopped.
type wall struct {
	host   *lab.Host
	kernel *linux.Kernel
	guard  peers.Guard
}

// wallOf waits until the agent has put the policy in force, and stops it.
func wallOf(ctx context.Context, l *lab.Lab, m *lab.Mesh, name string) (*wall, error) {
	w := &wall{host: l.Host(name)}
	mark := []byte(fmt.Sprint(lastRulePort))
	if name == "shop" {
		mark = []byte(strings.TrimSuffix(measuredPorts, "-65535"))
	}
	err := retry(guardWithin, func() error {
		raw, err := os.ReadFile(w.host.Path(agentDir + "/guard"))
		if err == nil && !bytes.Contains(raw, mark) {
			err = errors.New("the policy is not in force yet")
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("guard of %s: %v", name, err)
	}
	if err := m.Agent(name).Stop(ctx); err != nil {
		return nil, err
	}
	files, err := store.OpenIfThere(w.host.Path(agentDir))
	if err != nil {
		return nil, err
	}
	if w.guard, err = files.Guard(); err == nil {
		err = files.Close()
	}
	if err != nil {
		return nil, err
	}
	return w, w.host.Do(func() (err error) {
		w.kernel, err = linux.New(linux.Options{Backend: linux.None, Log: slog.New(slog.DiscardHandler)})
		return err
	})
}

// set puts the guard in place, or takes all rules away.
func (w *wall) set(ctx context.Context, there bool) error {
	step := peers.Step(peers.DelGuard{})
	if there {
		step = peers.SetGuard{Guard: w.guard}
	}
	return w.host.Do(func() error { return w.kernel.Apply(ctx, []peers.Step{step}) })
}

// replaceRows replaces the guard of one host again and again, under traffic.
func replaceRows(ctx context.Context, w *wall, path load.Path, backend string, perSecond int) ([]Row, error) {
	if err := w.set(ctx, true); err != nil {
		return nil, err
	}
	packets, err := load.StartDatagrams([]load.Path{path}, perSecond)
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	for range replacements {
		if err := rest(ctx, replaceEvery); err != nil {
			return nil, err
		}
		w.guard.Wall.Doubled = !w.guard.Wall.Doubled // another one: what is there already is not replaced
		start := time.Now()
		if err := w.set(ctx, true); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	counts, err := packets.Stop()
	if err != nil {
		return nil, err
	}
	slices.Sort(took)
	half, total := took[len(took)/2], load.Total(counts)
	return []Row{
		{
			What:   fmt.Sprintf("guard with %d rules replaced, p50 (slowest of %d)", guardRules, replacements),
			Target: "≤ 50 ms", OK: half <= maxReplace,
			Measured: fmt.Sprintf("%.0f (%.0f) ms", 1e3*half.Seconds(), 1e3*took[len(took)-1].Seconds()),
		},
		{
			What:   fmt.Sprintf("packets lost meanwhile, at %d/s (%s tunnel)", perSecond, backend),
			Target: "0", Measured: fmt.Sprintf("%d of %d", total.Lost, total.Sent), OK: total.Lost == 0 && total.Sent > 0,
		},
	}, nil
}

// tracking is a guard that only asks whether a packet is of a connection that is open: what any firewall with a memory
// costs, as the kernel then looks each packet up, WireGuard's own among them.
const tracking = `table inet reference {
	chain arrive { type filter hook prerouting priority mangle; ct direction reply accept; }
	chain leave { type filter hook postrouting priority srcnat + 10; ct direction reply accept; }
}`

// track puts the table of tracking in place, or takes it away.
func (w *wall) track(ctx context.Context, there bool) error {
	text := "add table inet reference; delete table inet reference\n"
	if there {
		text += tracking
	}
	cmd := w.host.Command(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft on %s: %v\n%s", w.host.Name(), err, out)
	}
	return nil
}

// guardedRows compare TCP through the tunnel with and without the guard at both ends, and with tracking alone.
func guardedRows(ctx context.Context, l *lab.Lab, walls []*wall, to netip.Addr, backend string, t turns) ([]Row, error) {
	with := func(guard, track bool) lane {
		return lane{to, func() error {
			for _, w := range walls {
				if err := errors.Join(w.set(ctx, guard), w.track(ctx, track)); err != nil {
					return err
				}
			}
			return nil
		}}
	}
	none := with(false, false)
	rates, err := takeTurns(l.Host("shop"), l.Host("warehouse"), t, none, with(true, false), none, with(false, true))
	if err != nil {
		return nil, err
	}
	ratio, noise := compare(rates[:3])
	tracked, _ := compare([][]float64{rates[0], rates[3], rates[2]})
	rules, _ := compare([][]float64{rates[3], rates[1], rates[3]})
	return []Row{
		{
			What: fmt.Sprintf("TCP with %d rules against no guard, %s tunnel, %d rounds (none against none)",
				guardRules, backend, t.rounds),
			Target: "≥ 0.97", OK: ratio.mean >= leastGuarded,
			Measured: fmt.Sprintf("%v (%v), %.0f Mbit/s", ratio, noise, median(rates[1])),
		},
		{What: "one rule that has connections tracked against no guard", Measured: tracked.String(), OK: true},
		{What: fmt.Sprintf("%d rules against that one", guardRules), Measured: rules.String(), OK: true},
	}, nil
}
