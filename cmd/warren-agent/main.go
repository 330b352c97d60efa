// Warren-agent keeps the tunnels of one host as the controller of its mesh plans them.
package main

import (
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/agent/tunnel"
	"github.com/warren-mesh/warren/cmd/internal/daemon"
)

func main() {
	root := daemon.Root("warren-agent", "Keeps this host's tunnels as the mesh plans them")
	root.AddCommand(runCommand(), guardCommand(), cleanCommand(), tunnelCommand())
	os.Exit(daemon.Main(root))
}

// runCommand is the agent itself.
func runCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "run", Short: "Run the agent until SIGTERM, and leave every tunnel as it is", Args: cobra.NoArgs,
		Example: "  warren-agent run\n  warren-agent run --endpoint 198.51.100.7 --backend userspace",
	}
	o.bind(cmd)
	settings := daemon.Bind(cmd, "WARREN_AGENT_", "/etc/warren/agent.yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := settings.Logger(os.Stderr)
		if err != nil {
			return err
		}
		return run(cmd.Context(), &o, log)
	}
	return cmd
}

// tunnelCommand is one tunnel in a process of its own. The agent starts it where the kernel has no WireGuard.
func tunnelCommand() *cobra.Command {
	var o tunnel.Options
	cmd := &cobra.Command{
		Use: "tunnel", Short: "Be the tunnel of one interface", Args: cobra.NoArgs, Hidden: true,
		Example: "  warren-agent tunnel --interface wrn1 --mtu 1420",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
			return tunnel.Run(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&o.Interface, "interface", "", "name of the interface")
	cmd.Flags().IntVar(&o.MTU, "mtu", 1420, "its MTU in bytes")
	return cmd
}
