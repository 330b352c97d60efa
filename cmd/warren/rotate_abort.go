package main

import (
	"context"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/warren/client"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// abortWait is how long warren rotate abort waits for hosts, if nothing else is said.
const abortWait = 30 * time.Second

func (a *app) rotateAbort() *cobra.Command {
	var order wire.RotationAbort
	timeout := abortWait
	cmd := &cobra.Command{
		Use: "abort", Short: "Give the rotation up that runs, before any traffic has moved", Args: cli.Args(),
		Long: `Give the rotation up that runs: all hosts keep the keys that they have, and the new ones are destroyed.

That is possible while no traffic has moved to the new keys, as when a firewall lets nobody reach the second port. Once
some has, the rotation can only go on: the other end may be out of the controller's reach and would go on sending to
where nobody listens any more. Hosts are asked first to move no more traffic. When all that have a new key have said so,
the rotation is over; where one has moved its traffic meanwhile, it goes on. A host that is offline and has a new key is
waited for, unless it is taken out: warren host suspend NAME.

A schedule counts it as a rotation: the next one begins as if this one had been made.

Exit codes: 0 given up, or with --dry-run possible as far as is known; 1 refused, or it goes on because traffic has moved;
3 hosts are still waited for, and it is given up as soon as they have answered.`,
		Example: "  warren rotate abort --reason 'the firewall is not open for the second port'\n  warren rotate abort --dry-run",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.admin(cmd)
			if err != nil {
				return err
			}
			var v wire.RotationView
			if err := c.Call(cmd.Context(), http.MethodPost, wire.PathRotationAbort, order, &v); err != nil {
				return err
			}
			if order.DryRun {
				return a.show(v, func(p *cli.Page) {
					p.Line("No traffic has moved, as far as is known: the rotation to generation %d can be given up. "+
						"Nothing was changed.", v.Generation)
				})
			}
			return a.waitAborted(cmd.Context(), c, &v, timeout)
		},
	}
	cmd.Flags().StringVar(&order.Why, "reason", "", "`TEXT` for the audit log")
	cmd.Flags().BoolVar(&order.DryRun, "dry-run", false, "only say whether it is possible")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how `LONG` to wait for hosts")
	return cmd
}

// waitAborted waits until the rotation is given up, or goes on, and says which.
func (a *app) waitAborted(ctx context.Context, c *client.Client, v *wire.RotationView, timeout time.Duration) error {
	to := v.Generation
	end := a.now().Add(timeout)
	tick := time.NewTicker(waitEvery)
	defer tick.Stop()
	for last := ""; v.Held && v.Generation == to && a.now().Before(end); {
		if text := waitingFor(v); text != last {
			a.notes().Line("%s", text)
			last = text
		}
		select {
		case <-ctx.Done():
			return cli.Fail("interrupted", "warren rotate status",
				"stopped waiting; the rotation is given up when all hosts have answered")
		case <-tick.C:
		}
		var next wire.RotationView
		switch err := c.Call(ctx, http.MethodGet, wire.PathRotation, nil, &next); {
		case err == nil:
			v = &next
		case ctx.Err() == nil && !isDown(err):
			return err
		}
	}
	return a.aborted(v, to)
}

// waitingFor names the hosts that have not answered yet.
func waitingFor(v *wire.RotationView) string {
	names := make([]string, len(v.Waiting))
	for i, w := range v.Waiting {
		names[i] = w.Host
	}
	if len(names) == 0 {
		return "No more traffic moves."
	}
	return "No more traffic moves; waiting for the word of " + shortened(names)
}

// aborted ends the wait.
func (a *app) aborted(v *wire.RotationView, to peers.Generation) error {
	v.Waiting = listed(v.Waiting)
	err := a.show(*v, func(p *cli.Page) {
		switch {
		case v.Generation < to:
			p.Line("The rotation to generation %d is given up: all hosts keep the keys of generation %d.", to, v.Generation)
		case v.Held:
			viewRotation(p, v)
		default:
			p.Line("Traffic has moved to generation %d already: the rotation goes on. See: warren rotate status", to)
		}
	})
	switch {
	case err != nil || v.Generation < to:
		return err
	case v.Held:
		return cli.Exit(cli.ExitDegraded)
	}
	return cli.Exit(cli.ExitFailed)
}
