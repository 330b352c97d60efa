package main

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/warren/client"
	"github.com/warren-mesh/warren/peers/wire"
)

func (a *app) leaveCommand() *cobra.Command {
	order := wire.LocalLeave{}
	yes := false
	cmd := &cobra.Command{
		Use: "leave", Short: "Take this host out of its mesh and restore it", Args: cli.Args(),
		Long: `Take this host out of its mesh and restore it: the controller forgets the host, interfaces, addresses, routes
and firewall rules of the mesh go, identity, keys and plans are wiped. What is not Warren's stays as it is. The
agent goes on running, and the host can enrol again.

Without the controller nothing is changed, unless with --force: then an admin has to remove the host there. Where
the agent does not run either, warren-agent clean does the same.

Exit codes: 0 done, 1 refused or not complete, 4 not enrolled, or the agent does not run.`,
		Example: "  warren leave\n  warren leave --force --yes",
		RunE: func(cmd *cobra.Command, _ []string) error {
			agent := a.agent(cmd)
			s, err := readStatus(cmd.Context(), agent)
			if err != nil {
				return err
			}
			if s.State != wire.StateUnenrolled {
				if err := a.proc.Confirm("Take "+s.Host+" out of "+s.Mesh+" and remove its tunnels?", yes); err != nil {
					return err
				}
			}
			return a.leave(cmd.Context(), agent, order)
		},
	}
	cmd.Flags().BoolVar(&order.Force, "force", false, "restore the host even if the controller cannot be told")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) leave(ctx context.Context, agent *client.Client, order wire.LocalLeave) error {
	steps := newSteps(a)
	defer steps.close()
	for p, err := range client.Stream[wire.Progress](ctx, agent, http.MethodPost, wire.PathLocalLeave, order) {
		switch {
		case err != nil:
			return err
		case p.Fault != nil:
			return p.Fault
		}
		steps.next(p)
		if p.Done && p.Status != nil {
			steps.close()
			tidyStatus(p.Status)
			return a.show(p.Status, func(page *cli.Page) { page.Line("This host is in no mesh any more.") })
		}
	}
	return agent.Ended()
}
