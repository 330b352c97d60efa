package main

import (
	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/wire"
)

func (a *app) metricsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "metrics", Short: "Figures of this host for monitoring", Args: cli.Args(),
		Long: `Figures of this host for monitoring, in the text format of Prometheus: what the agent serves as /metrics at its
socket. docs/metrics.md lists them. A collector that reads files gets them by a timer, another one by a proxy to the
socket.`,
		Example: "  warren metrics\n  warren metrics > /var/lib/prometheus/node-exporter/warren.prom",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.format == cli.JSON {
				return cli.Usage("warren metrics; as JSON there is: warren status -o json", "metrics are no JSON")
			}
			return a.agent(cmd).Copy(cmd.Context(), a.proc.Stdout, wire.PathLocalMetrics)
		},
	}
}
