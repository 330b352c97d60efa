// Command bench measures the whole system with its real programs and prints a table: what was measured,
// beside its target and beside a reference run where there is one. Figures from a shared machine scatter;
// ratios to the reference do so less.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"text/tabwriter"
	"time"
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
}

func main() {
	var s settings
	flag.StringVar(&s.bin, "bin", "bin", "`FOLDER` with the built programs")
	flag.IntVar(&s.hosts, "hosts", 1000, "simulated hosts of the fleet")
	flag.IntVar(&s.adds, "adds", 20, "hosts that join one after the other to measure what each costs")
	only := flag.String("only", "fleet,lab", "sections to run")
	asJSON := flag.Bool("json", false, "JSON instead of a table")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var rows []Row
	for name, section := range map[string]func(context.Context, settings) ([]Row, error){"fleet": fleetRows} {
		if !strings.Contains(*only, name) {
			continue
		}
		start := time.Now()
		got, err := section(ctx, s)
		rows = append(rows, got...)
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", name, err)
			defer os.Exit(1)
		}
		fmt.Fprintf(os.Stderr, "%s: %.0f s\n", name, time.Since(start).Seconds())
	}
	if *asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(rows)
		return
	}
	print(rows)
}

func print(rows []Row) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "WHAT\tMEASURED\tTARGET\t")
	for _, r := range rows {
		mark := ""
		if !r.OK {
			mark = "missed"
		}
		fmt.Fprintf(w, "%s: %s\t%s\t%s\t%s\n", r.Section, r.What, r.Measured, r.Target, mark)
	}
}
