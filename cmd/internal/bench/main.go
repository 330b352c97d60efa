// Command bench measures the whole system with its real programs and prints a table: what was measured,
// beside its target and beside a reference run where there is one. Figures from a shared machine scatter;
// ratios to the reference do so less.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// A Row is one figure.
type Row struct {
	Section  string `json:"section"`
	What     string `json:"what"`
	Measured string `json:"measured"`
	Target   string `json:"target"`
	OK       bool   `json:"ok"`
}

type settings struct {
	bin   string
	hosts int
	adds  int
	black time.Duration
	peers int
	rest  time.Duration

	turns     turns
	sizes     string
	pps, bulk int
	rotations int

	faults, drains int
}

func main() {
	lab.Reexec()
	var s settings
	flag.StringVar(&s.bin, "bin", "bin", "`FOLDER` with the built programs")
	flag.IntVar(&s.hosts, "hosts", 1000, "simulated hosts of the fleet")
	flag.IntVar(&s.adds, "adds", 20, "hosts that join one after the other to measure what each costs")
	flag.DurationVar(&s.black, "black", time.Hour, "how long the controller is out of reach in section blackhole")
	flag.IntVar(&s.peers, "peers", 500, "peers of the agent in section atrest")
	flag.DurationVar(&s.rest, "rest", time.Minute, "how long the agent is watched in section atrest")
	flag.IntVar(&s.turns.rounds, "rounds", 8, "of TCP through each way in sections tunnel and guard")
	flag.DurationVar(&s.turns.each, "stream", 2*time.Second,
		"how long each TCP stream takes in sections tunnel and guard; many short ones tell more on a busy machine")
	flag.StringVar(&s.sizes, "sizes", "3,10", "`NUMBERS` of hosts of the meshes in section rotation")
	flag.IntVar(&s.pps, "pps", 1000,
		"packets per second on each link and way, if the machine carries them, in sections rotation and guard")
	flag.IntVar(&s.bulk, "bulk", 50, "Mbit/s of the TCP stream in section rotation")
	flag.IntVar(&s.rotations, "rotations", 20, "in section rotation")
	flag.IntVar(&s.faults, "faults", 20, "of each kind in section failover")
	flag.IntVar(&s.drains, "drains", 11, "in section failover")
	only := flag.String("only", "fleet,tunnel,lab", "sections to run; also blackhole, atrest, guard, rotation and failover")
	asJSON := flag.Bool("json", false, "JSON instead of a table")
	flag.Parse()
	if err := lab.Enter(lab.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	rows, failed := measure(ctx, s, strings.Split(*only, ","))
	if *asJSON {
		failed = errors.Join(failed, json.NewEncoder(os.Stdout).Encode(rows))
	} else {
		failed = errors.Join(failed, print(rows))
	}
	if failed != nil {
		fmt.Fprintln(os.Stderr, "bench:", failed)
		os.Exit(1)
	}
}

// measure runs the sections that were asked for. One that fails does not keep the others from running.
func measure(ctx context.Context, s settings, only []string) (rows []Row, failed error) {
	for _, section := range []struct {
		name string
		run  func(context.Context, settings) ([]Row, error)
	}{
		{"fleet", fleetRows},
		{"tunnel", tunnelRows},
		{"lab", labRows},
		{"blackhole", blackholeRows},
		{"atrest", atRestRows},
		{"guard", guardRows},
		{"rotation", rotationRows},
		{"failover", failoverRows},
	} {
		if !slices.Contains(only, section.name) {
			continue
		}
		start := time.Now()
		got, err := section.run(ctx, s)
		for _, row := range got {
			row.Section = section.name
			rows = append(rows, row)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", section.name, err))
		}
		fmt.Fprintf(os.Stderr, "%s: %.0f s\n", section.name, time.Since(start).Seconds())
	}
	return rows, failed
}

func print(rows []Row) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tMEASURED\tTARGET\t")
	for _, r := range rows {
		mark := ""
		if !r.OK {
			mark = "missed"
		}
		fmt.Fprintf(w, "%s: %s\t%s\t%s\t%s\n", r.Section, r.What, r.Measured, r.Target, mark)
	}
	return w.Flush()
}
