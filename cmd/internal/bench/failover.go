package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/bench/load"
	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// What a fail-over may take.
const (
	failOverMost = 5 * time.Second
	failOverHalf = 3 * time.Second
	agreeWithin  = 2 * time.Minute
	// afterFailOver is for how long traffic is watched afterwards: both directions must flow.
	afterFailOver = time.Second
)

// A stage is two LANs, one of them behind two gateways, with traffic between a host of each.
type stage struct {
	l             *lab.Lab
	m             *lab.Mesh
	path          load.Path
	acting, other string
}

// failoverRows drains gateways under traffic, and then, without a controller, kills them, pulls their cables, and cuts
// their LANs off behind links that stay up.
func failoverRows(ctx context.Context, s settings) ([]Row, error) {
	st, err := newStage(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { _ = st.l.Close() }()
	rows, err := st.drains(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := st.m.Controller().Kill(); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name         string
		breaks, mend func(context.Context, *lab.Host) error
	}{
		{"gateways killed", func(_ context.Context, h *lab.Host) error { return h.PowerOff() }, st.boot},
		{
			"LAN cables of gateways pulled", func(_ context.Context, h *lab.Host) error { return h.PullLAN() },
			func(_ context.Context, h *lab.Host) error { return h.RestoreLAN() },
		},
		{
			"LANs of gateways cut off behind their links", func(_ context.Context, h *lab.Host) error { return h.CutLAN() },
			func(_ context.Context, h *lab.Host) error { return h.RestoreLAN() },
		},
	} {
		var gaps []time.Duration
		for range s.faults {
			gap, err := st.fault(ctx, f.breaks, f.mend)
			if err != nil {
				return rows, fmt.Errorf("%s: %w", f.name, err)
			}
			gaps = append(gaps, gap)
			fmt.Fprintf(os.Stderr, "%s: %.2f s\n", f.name, gap.Seconds())
		}
		slices.Sort(gaps)
		half, most := gaps[len(gaps)/2], gaps[len(gaps)-1]
		rows = append(rows, Row{
			What:   fmt.Sprintf("%d %s, controller dead: LAN to LAN without a packet, p50 (longest)", len(gaps), f.name),
			Target: "≤ 3 (5) s", Measured: fmt.Sprintf("%.1f (%.1f) s", half.Seconds(), most.Seconds()),
			OK: half <= failOverHalf && most <= failOverMost,
		})
	}
	return rows, nil
}

// boot has a gateway come back.
func (st *stage) boot(ctx context.Context, h *lab.Host) error {
	if err := h.Reboot(); err != nil {
		return err
	}
	_, err := st.m.StartAgent(ctx, h.Name())
	return err
}

func newStage(ctx context.Context, s settings) (*stage, error) {
	bin, err := filepath.Abs(s.bin)
	if err != nil {
		return nil, err
	}
	on := func(segment, address string, via ...string) lab.LANLink {
		k := lab.LANLink{Segment: segment, Addresses: []netip.Prefix{netip.MustParsePrefix(address)}, Only: len(via) > 0}
		for _, hop := range via {
			k.Via = append(k.Via, netip.MustParseAddr(hop))
		}
		return k
	}
	l, err := lab.New(lab.Topology{Bin: bin, LANs: []string{"floor", "stock"}, Hosts: []lab.HostSpec{
		{Name: lab.DefaultController},
		{Name: "shop", LAN: on("floor", "10.10.0.2/24")},
		{Name: "wh1", Site: "warehouse", LAN: on("stock", "10.20.0.2/24")},
		{Name: "wh2", Site: "warehouse", LAN: on("stock", "10.20.0.3/24")},
		{Name: "till", LAN: on("floor", "10.10.0.7/24", "10.10.0.2")},
		{Name: "erp", LAN: on("stock", "10.20.0.9/24", "10.20.0.1")},
	}})
	if err != nil {
		return nil, err
	}
	st := &stage{l: l, acting: "wh1", other: "wh2"}
	st.path = load.Path{
		From: load.End{Host: l.Host("till"), Addr: netip.MustParseAddr("10.10.0.7")},
		To:   load.End{Host: l.Host("erp"), Addr: netip.MustParseAddr("10.20.0.9")},
	}
	st.m, err = lab.StartMesh(ctx, l, lab.MeshOptions{Progress: func(line string) { fmt.Fprintln(os.Stderr, line) }})
	for _, args := range [][]string{
		{"site", "add", "shop", "--prefix", "10.10.0.0/24", "--gateway", "shop"},
		{
			"site", "add", "warehouse", "--prefix", "10.20.0.0/24", "--gateway", "wh1", "--gateway", "wh2",
			"--virtual-ip", "10.20.0.1", "--lan-check", "10.20.0.9",
		},
	} {
		if err == nil {
			err = st.warren(ctx, args...)
		}
	}
	if err == nil {
		err = st.agree(ctx, "wh1", "shop", "wh1", "wh2")
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return st, nil
}

func (st *stage) warren(ctx context.Context, args ...string) error {
	if out, err := st.m.Warren(ctx, lab.DefaultController, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("warren %v: %v\n%s", args, err, out)
	}
	return nil
}

// agree waits until hosts hold a gateway of the warehouse to act, and the others to be fit.
func (st *stage) agree(ctx context.Context, gateway string, hosts ...string) error {
	ctx, cancel := context.WithTimeout(ctx, agreeWithin)
	defer cancel()
	for _, host := range hosts {
		for !st.sees(ctx, host, gateway) {
			if err := rest(ctx, 100*time.Millisecond); err != nil {
				return fmt.Errorf("%s does not see %s act: %w", host, gateway, err)
			}
		}
	}
	return nil
}

func (st *stage) sees(ctx context.Context, host, gateway string) bool {
	s, err := statusOf(ctx, st.m, host)
	if err != nil {
		return false
	}
	for _, site := range s.Sites {
		unfit := false
		for _, g := range site.Gateways {
			unfit = unfit || !g.Fit
		}
		if site.Site == "warehouse" {
			return site.Acting == gateway && !unfit
		}
	}
	return false
}

// drains has the gateway that acts left, again and again, under traffic. The last time it is waited for until traffic goes
// back by itself.
func (st *stage) drains(ctx context.Context, s settings) ([]Row, error) {
	packets, err := load.StartDatagrams([]load.Path{st.path}, s.pps)
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	for last := false; !last; {
		last = len(took)+1 >= s.drains && st.acting == "wh1"
		start := time.Now()
		if err := st.warren(ctx, "host", "drain", st.acting, "--wait"); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
		fmt.Fprintf(os.Stderr, "%s drained: %.1f s\n", st.acting, took[len(took)-1].Seconds())
		if err := st.agree(ctx, st.other, "shop", "wh1", "wh2"); err != nil {
			return nil, err
		}
		if err := st.warren(ctx, "host", "undrain", st.acting); err != nil {
			return nil, err
		}
		if last {
			err = st.agree(ctx, "wh1", "shop", "wh1", "wh2")
		} else {
			st.acting, st.other = st.other, st.acting
		}
		if err != nil {
			return nil, err
		}
	}
	if err := rest(ctx, afterFailOver); err != nil {
		return nil, err
	}
	counts, err := packets.Stop()
	if err != nil {
		return nil, err
	}
	for _, c := range counts {
		fmt.Fprintf(os.Stderr, "%s: lost %d of %d, %v\n", c.Path, c.Lost, c.Sent, c.Missing)
	}
	total := load.Total(counts)
	slices.Sort(took)
	return []Row{{
		What:   fmt.Sprintf("%d drains and a way back, %d packets per second each way: lost", len(took), s.pps),
		Target: "0", Measured: fmt.Sprintf("%d of %d", total.Lost, total.Sent), OK: total.Lost == 0 && total.Sent > 0,
	}, {
		What: "warren host drain --wait, p50", Measured: fmt.Sprintf("%.1f s", took[len(took)/2].Seconds()), OK: true,
	}}, nil
}

// fault breaks the gateway that acts, and gives for how long no packet came, whichever direction was worse.
func (st *stage) fault(ctx context.Context, breaks, mend func(context.Context, *lab.Host) error) (time.Duration, error) {
	const perSecond = 200
	packets, err := load.StartDatagrams([]load.Path{st.path}, perSecond)
	if err != nil {
		return 0, err
	}
	h := st.l.Host(st.acting)
	if err := errors.Join(rest(ctx, time.Second), breaks(ctx, h), rest(ctx, failOverMost+afterFailOver)); err != nil {
		return 0, err
	}
	counts, err := packets.Stop()
	if err != nil {
		return 0, err
	}
	gap := time.Duration(0)
	for _, c := range counts {
		gap = max(gap, c.LongestGap)
		if c.Sent-c.Lost < perSecond {
			gap = max(gap, failOverMost+afterFailOver) // hardly anything arrived at all
		}
	}
	st.acting, st.other = st.other, st.acting
	return gap, errors.Join(mend(ctx, h), st.agree(ctx, st.acting, "shop", "wh1", "wh2"))
}
