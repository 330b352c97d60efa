package main

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/warren/client"
	"github.com/warren-mesh/warren/peers/wire"
)

func (a *app) statusCommand() *cobra.Command {
	watch := false
	var w waiting
	cmd := &cobra.Command{
		Use: "status", Short: "What this host is, has and lacks", Args: cli.Args(),
		Long: `What this host is, has and lacks.

The exit code says it to scripts: 0 all is well, 3 something is degraded, 4 down, not enrolled, or the agent
does not run.

With --wait it returns when the tunnels to all peers are up, with 0, whether or not the controller can be
reached; when --timeout is over it shows what there is. An agent that does not run yet is waited for too.

Where the controller can be asked from here, on its own machine or by WARREN_CONTROLLER, a change that waits to be
confirmed is shown as well, once, not with --watch or --wait.`,
		Example: "  warren status\n  warren status --watch\n  warren status --wait --timeout 2m\n" +
			"  warren status -o json | jq -r '.peers[] | select(.state != \"up\") | .host'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case watch && w.wait:
				return cli.Usage("warren status --help", "--watch and --wait are two things: give one of them")
			case watch:
				return a.watch(cmd.Context(), a.agent(cmd))
			case w.wait:
				return a.wait(cmd.Context(), a.agent(cmd), w.timeout)
			case cmd.Flags().Changed("timeout"):
				return cli.Usage("warren status --wait --timeout 2m", "--timeout is for --wait")
			}
			s, err := readStatus(cmd.Context(), a.agent(cmd))
			if err != nil {
				return err
			}
			both := hostAndMesh{s, a.pending(cmd)}
			err = a.show(both, func(p *cli.Page) {
				viewStatus(p, s)
				viewPending(p, both.Pending)
			})
			if err != nil {
				return err
			}
			return exitOf(s)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false,
		"show it again every second, with -o json one line each, until interrupted")
	w.bind(cmd)
	return cmd
}

// hostAndMesh is the status of a host, with what an admin must not forget.
type hostAndMesh struct {
	*wire.Status
	Pending *wire.Pending `json:"pending,omitempty"`
}

// pending is the change that waits to be confirmed; nil for none, and where the controller cannot be asked. Whoever looks
// at a host must not be held up by that.
func (a *app) pending(cmd *cobra.Command) (out *wire.Pending) {
	controller, err := a.admin(cmd)
	if err != nil {
		return nil
	}
	ctx, cancel := soon(cmd.Context())
	defer cancel()
	if controller.Call(ctx, http.MethodGet, wire.PathPending, nil, &out) != nil {
		return nil
	}
	return out
}

func readStatus(ctx context.Context, agent *client.Client) (*wire.Status, error) {
	s := &wire.Status{}
	if err := agent.Call(ctx, http.MethodGet, wire.PathStatus, nil, s); err != nil {
		return nil, err
	}
	tidyStatus(s)
	return s, nil
}

// tidyStatus makes empty lists of missing ones.
func tidyStatus(s *wire.Status) {
	s.Interfaces, s.Peers, s.Problems = listed(s.Interfaces), listed(s.Peers), listed(s.Problems)
	for i := range s.Peers {
		s.Peers[i].AllowedIPs = listed(s.Peers[i].AllowedIPs)
	}
}

// exitOf is the exit code of a state.
func exitOf(s *wire.Status) error {
	switch s.State {
	case wire.StateOK:
		return nil
	case wire.StateDegraded:
		return cli.Exit(cli.ExitDegraded)
	}
	return cli.Exit(cli.ExitDown)
}
