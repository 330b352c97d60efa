package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/bench/load"
	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/tap"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	longestRotation = 15 * time.Second
	giveUpRotation  = 2 * time.Minute
	maxApart        = 2 * time.Second // by which the two ends of a pair switch one after the other
	moreGap         = 20 * time.Millisecond
	probeTime       = 10 * time.Second // of a trial of the load
	calmTime        = 2 * time.Minute  // in which the longest gap is, if anything, shorter than in a longer time
	minimumRate     = 50               // packets per second, below which no load is looked for
)

// A rotor is a mesh whose keys are rotated while it carries traffic.
type rotor struct {
	settings
	lab     *lab.Lab
	mesh    *lab.Mesh
	ends    []load.End
	backend string
	what    string // for rows
}

// rotationRows rotates all keys of meshes of several sizes, again and again, and counts what becomes of the traffic.
func rotationRows(ctx context.Context, s settings) ([]Row, error) {
	var rows []Row
	for size := range strings.SplitSeq(s.sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil {
			return rows, fmt.Errorf("sizes of meshes: %v", err)
		}
		got, err := rotateMesh(ctx, s, n)
		rows = append(rows, got...)
		if err != nil {
			return rows, fmt.Errorf("%d hosts: %w", n, err)
		}
	}
	return rows, nil
}

func rotateMesh(ctx context.Context, s settings, n int) ([]Row, error) {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("host%d", i))
	}
	l, m, err := meshOf(ctx, s, names...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	r := &rotor{settings: s, lab: l, mesh: m}
	for _, name := range names {
		end, err := endOf(ctx, l, m, name)
		if err != nil {
			return nil, err
		}
		r.ends = append(r.ends, end)
	}
	status, err := statusOf(ctx, m, names[0])
	if err != nil {
		return nil, err
	}
	r.backend = status.Backend
	rate, trials, err := r.findRate(ctx)
	if err != nil {
		return trials, err
	}
	r.what = fmt.Sprintf("%d hosts (%s), %d links × 2 × %d packets/s: ", n, r.backend, n*(n-1)/2, rate)
	rows, err := r.compare(ctx, rate)
	rows = append(trials, rows...)
	if err != nil {
		return rows, err
	}
	shakes, err := r.handshakes(ctx)
	if err != nil {
		return rows, err
	}
	naive, err := r.naive(ctx, rate)
	return append(rows, shakes, naive), err
}

// findRate looks for the highest rate, from the one wanted down, that this machine carries undisturbed and without a
// loss: what it loses by itself would say nothing about rotations.
func (r *rotor) findRate(ctx context.Context) (rate int, trials []Row, err error) {
	for rate = r.pps; ; rate /= 2 {
		_, o, err := r.under(ctx, rate, func() error { return rest(ctx, probeTime) })
		if err != nil {
			return 0, trials, err
		}
		if o.packets.Lost == 0 {
			return rate, trials, nil
		}
		trials = append(trials, Row{
			What: fmt.Sprintf("%d hosts (%s), %d packets/s on each link and way: more than this machine carries undisturbed",
				len(r.ends), r.backend, rate),
			Target: "", Measured: fmt.Sprintf("%d of %d lost", o.packets.Lost, o.packets.Sent), OK: true,
		})
		if rate/2 < minimumRate {
			return 0, trials, errors.New("this machine loses packets at any rate")
		}
	}
}

// An outcome is what became of all traffic.
type outcome struct {
	packets  load.Count
	worst    []load.Count
	stream   load.StreamCount
	requests load.RequestCount
	dropped  int // by the machine itself, see machineDrops
}

// mostMemory is what this program may take while it sends, before garbage is collected after all.
const mostMemory = 2 << 30

// uncollected has no garbage collected until resume: the collector stops all threads, those that send as well, and waits for
// those that wait for a processor.
func uncollected() (resume func()) {
	share, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(mostMemory)
	return func() {
		debug.SetGCPercent(share)
		debug.SetMemoryLimit(limit)
	}
}

// under does something while all traffic flows, and says how long that took.
func (r *rotor) under(ctx context.Context, rate int, do func() error) (took time.Duration, o outcome, err error) {
	defer uncollected()()
	first := load.Path{From: r.ends[0], To: r.ends[1]}
	packets, err := load.StartDatagrams(load.Pairs(r.ends), rate)
	if err != nil {
		return 0, o, err
	}
	stream, err := load.StartStream(first, r.bulk*1e6/8)
	if err != nil {
		_, stopped := packets.Stop()
		return 0, o, errors.Join(err, stopped)
	}
	requests, err := load.StartRequests(load.Path{From: r.ends[1], To: r.ends[0]}, requestRate)
	if err != nil {
		return 0, o, err
	}
	start, dropped := time.Now(), machineDrops()
	err = do()
	took = time.Since(start)
	o.requests, o.stream = requests.Stop(), stream.Stop()
	counts, stopped := packets.Stop()
	o.packets, o.dropped = load.Total(counts), machineDrops()-dropped
	o.worst = slices.DeleteFunc(counts, func(c load.Count) bool { return c.Lost == 0 })
	return took, o, errors.Join(err, stopped, ctx.Err())
}

// requestRate is how many HTTP requests are made in a second.
const requestRate = 100

// compare rotates under traffic, and leaves the same traffic alone for as long, or for calmTime.
func (r *rotor) compare(ctx context.Context, rate int) ([]Row, error) {
	var each []time.Duration
	took, o, err := r.under(ctx, rate, func() error {
		for range r.rotations {
			d, err := r.rotate(ctx, true)
			if err != nil {
				return err
			}
			each = append(each, d)
		}
		return nil
	})
	for _, c := range o.worst {
		fmt.Fprintf(os.Stderr, "lost: %+v\n", c)
	}
	if err != nil {
		return nil, err
	}
	_, calm, err := r.under(ctx, rate, func() error { return rest(ctx, min(took, calmTime)) })
	if err != nil {
		return nil, err
	}
	slices.Sort(each)
	longest := each[len(each)-1]
	what := fmt.Sprintf("%s%d rotations: ", r.what, len(each))
	return []Row{
		{
			What: what + "packets lost (undisturbed)", Target: "0", OK: o.packets.Lost == 0,
			Measured: fmt.Sprintf("%d of %d (%d of %d)", o.packets.Lost, o.packets.Sent, calm.packets.Lost, calm.packets.Sent),
		},
		{
			What: what + "of these, dropped by the busy machine between two links, at most (undisturbed)", Target: "", OK: true,
			Measured: fmt.Sprintf("%d (%d)", o.dropped, calm.dropped),
		},
		{
			What: what + "longest gap between packets (undisturbed)", Target: "≤ + 20 ms",
			Measured: fmt.Sprintf("%.0f ms (%.0f ms)", 1e3*o.packets.LongestGap.Seconds(), 1e3*calm.packets.LongestGap.Seconds()),
			OK:       o.packets.LongestGap <= calm.packets.LongestGap+moreGap,
		},
		pauseRow(what, o.packets, calm.packets),
		{
			What: what + fmt.Sprintf("TCP segments sent again, %d Mbit/s (undisturbed)", r.bulk), Target: "", OK: true,
			Measured: fmt.Sprintf("%d (%d)", o.stream.Retransmitted, calm.stream.Retransmitted),
		},
		{What: what + "TCP connections that broke", Target: "0", Measured: broke(o.stream.Failed), OK: o.stream.Failed == nil},
		{
			What: what + "HTTP errors; slowest (undisturbed)", Target: "0", OK: o.requests.Failed == 0 && o.requests.Sent > 0,
			Measured: fmt.Sprintf("%d of %d; %.0f ms (%d of %d; %.0f ms)", o.requests.Failed, o.requests.Sent,
				1e3*o.requests.Slowest.Seconds(), calm.requests.Failed, calm.requests.Sent, 1e3*calm.requests.Slowest.Seconds()),
		},
		{
			What: what + "duration, p50 (longest)", Target: "≤ 15 s", OK: longest <= longestRotation,
			Measured: fmt.Sprintf("%.1f s (%.1f s)", each[len(each)/2].Seconds(), longest.Seconds()),
		},
	}, nil
}

// pauseRow says how much of the longest gap this program has made itself, by sending late, and how long a packet was
// under way at most: on a machine that is shared by all hosts and what sends between them, each waits for the others.
func pauseRow(what string, all, calm load.Count) Row {
	return Row{
		What: what + "of that gap, the sender's own pause; slowest packet (undisturbed)", Target: "", OK: true,
		Measured: fmt.Sprintf("%.0f ms; %.0f ms (%.0f ms; %.0f ms)", 1e3*all.Paused.Seconds(), 1e3*all.Slowest.Seconds(),
			1e3*calm.Paused.Seconds(), 1e3*calm.Slowest.Seconds()),
	}
}

func broke(err error) string {
	if err == nil {
		return "0"
	}
	return fmt.Sprintf("1 (%v)", err)
}

// rotate begins a rotation and waits for its end. With apart, half of the agents are held up at some moment for up to
// two seconds, so that the ends of pairs switch at different times. One process waits: to start another one five times a
// second took a seventh of two processors, of which undisturbed traffic had more.
func (r *rotor) rotate(ctx context.Context, apart bool) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, giveUpRotation)
	defer cancel()
	var held sync.WaitGroup
	defer held.Wait()
	start := time.Now()
	if apart {
		for _, e := range r.ends {
			if rand.N(2) == 0 {
				held.Go(func() { hold(r.mesh.Agent(e.Host.Name())) })
			}
		}
	}
	out, err := r.mesh.Warren(ctx, lab.DefaultController, "rotate", "--wait", "--reason", "measured", "-o", "json").Output()
	var v wire.RotationView
	if err := errors.Join(err, json.Unmarshal(out, &v)); err != nil {
		return 0, fmt.Errorf("warren rotate --wait: %v: %s", err, out)
	}
	if v.Phase != peers.PhaseIdle {
		return 0, fmt.Errorf("warren rotate --wait does not wait for the end: %s", out)
	}
	took := time.Since(start)
	fmt.Fprintf(os.Stderr, "generation %d after %.1f s, at %v\n", v.Generation, took.Seconds(), time.Now().Format(time.TimeOnly))
	return took, nil
}

// hold stops an agent for up to two seconds, within the first seconds of a rotation.
func hold(agent *lab.Daemon) {
	<-time.After(rand.N(3 * time.Second))
	if agent.Signal(syscall.SIGSTOP) != nil {
		return // it has ended, which the rotation will show
	}
	<-time.After(rand.N(maxApart))
	_ = agent.Signal(syscall.SIGCONT)
}

// handshakes counts the messages of handshakes in one rotation without other traffic.
func (r *rotor) handshakes(ctx context.Context) (Row, error) {
	o := tap.Options{Buffer: 1 << 20}
	for _, e := range r.ends {
		o.Links = append(o.Links, e.Host.Name())
	}
	for g := range peers.Generation(2) {
		o.WireGuard = append(o.WireGuard, peers.DefaultPort+uint16(g))
	}
	watch, err := tap.Open(o)
	if err != nil {
		return Row{}, err
	}
	_, err = r.rotate(ctx, false)
	report, closed := watch.Close()
	if err := errors.Join(err, closed); err != nil {
		return Row{}, err
	}
	// A handshake is two messages, each of which crosses the links of both hosts.
	most := 0
	for _, l := range report.Links {
		most = max(most, l.Packets.Handshake)
	}
	return Row{
		What: r.what + "handshakes of a host in a rotation, at most", Target: "", OK: true,
		Measured: fmt.Sprintf("%.1f with %d peers", float64(most)/2, len(r.ends)-1),
	}, nil
}
