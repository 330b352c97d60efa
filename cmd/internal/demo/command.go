package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// timeout is for a machine that is busy with other things: a few seconds are usual, and half a millisecond each order.
func timeout(orders int) time.Duration {
	return 2*time.Minute + time.Duration(orders)*20*time.Millisecond
}

// Command is the demo as a command of warren-lab.
func Command() *cobra.Command {
	var o Options
	format := cli.Table
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Send orders between the LANs of three sites, let things go wrong, and watch every link",
		Long: `Starts a controller and the gateways of three sites on this machine, enrols them with one token each and joins
the LANs behind them. A till in the shop sends orders to the ERP in the warehouse, which sends invoices to the ledger of
accounting: machines that know nothing of the mesh. Meanwhile a gateway dies, a tunnel is deleted, and every link of the
internet is tapped. At the end one order leaves the shop outside of the tunnels, on purpose: the tap has to catch it.

What happens is told on stderr, the report on stdout. Nothing is left on this machine.

Exit codes: 0 everything was as it should be, 1 something was not, 2 wrong usage.`,
		Example: "  warren-lab demo\n  warren-lab demo --orders 10000 -o json",
		Args:    cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Orders < 1 {
				return cli.Usage(cmd.CommandPath()+" --help", "--orders %d: at least 1", o.Orders)
			}
			return show(cmd, o, format)
		},
	}
	cmd.Flags().IntVar(&o.Orders, "orders", 1000, "`NUMBER` of orders")
	cmd.Flags().StringVar(&o.Backend, "backend", "auto", "WireGuard of the agents: auto, kernel or userspace")
	cmd.Flags().VarP(&format, cli.OutputFlag, "o", "how the report is written")
	return cmd
}

// show enters a lab, which means to start over inside, and runs the demo there.
func show(cmd *cobra.Command, o Options, format cli.Format) error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	o.Programs = filepath.Dir(path)
	if err := lab.FindPrograms(o.Programs); err != nil {
		return cli.Fail("no-programs", "make build", "%v", err)
	}
	if err := lab.Enter(lab.Options{}); err != nil {
		return cli.Fail("no-lab", "", "%v", err)
	}
	began := time.Now()
	o.Logs = cmd.ErrOrStderr()
	o.Progress = func(message string) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%6.2f s  %s\n", time.Since(began).Seconds(), cli.Clean(message))
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout(o.Orders))
	defer cancel()
	report, err := Run(ctx, o)
	if err != nil {
		return err
	}
	if err := write(cmd.OutOrStdout(), report, format); err != nil {
		return err
	}
	if !report.OK {
		return cli.Exit(cli.ExitFailed)
	}
	return nil
}

func write(w io.Writer, report Report, format cli.Format) error {
	if format == cli.JSON {
		return cli.WriteJSON(w, report)
	}
	p := &cli.Process{Env: os.Getenv}
	report.Print(&cli.Page{W: w, Now: time.Now(), Colour: p.Colour(w)})
	return nil
}
