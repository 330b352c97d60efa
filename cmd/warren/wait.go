package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/warren/client"
	"github.com/warren-mesh/warren/peers/wire"
)

// lookAgain is how often the agent is asked while somebody waits.
const lookAgain = 250 * time.Millisecond

// waiting is whether, and how long, status waits for the tunnels.
type waiting struct {
	wait    bool
	timeout time.Duration
}

func (w *waiting) bind(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.wait, "wait", false, "wait until the tunnels to all peers are up")
	cmd.Flags().DurationVar(&w.timeout, "timeout", time.Minute, "how long to wait at most, as 90s or 5m")
}

// wait shows the status as soon as all tunnels are up, which is a success, or when the time is over.
func (a *app) wait(ctx context.Context, agent *client.Client, timeout time.Duration) error {
	if timeout <= 0 {
		return cli.Usage("warren status --help", "--timeout %v: want some time", timeout)
	}
	end, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// A look that has begun may end, but an agent that hangs shall not hang its user.
	ctx, giveUp := context.WithTimeout(ctx, timeout+patience)
	defer giveUp()
	every := time.NewTicker(lookAgain)
	defer every.Stop()
	for {
		s, err := readStatus(ctx, agent)
		up := err == nil && standing(s)
		if up || end.Err() != nil || isRefusal(err) {
			return a.waited(s, err, up)
		}
		select {
		case <-end.Done():
		case <-every.C:
		}
	}
}

// waited ends a wait.
func (a *app) waited(s *wire.Status, err error, up bool) error {
	if err != nil {
		return err
	}
	if err := a.show(s, func(p *cli.Page) { viewStatus(p, s) }); err != nil {
		return err
	}
	if up {
		return nil
	}
	return exitOf(s)
}

// standing reports whether every tunnel is up. It does not ask for the controller: tunnels do without.
func standing(s *wire.Status) bool {
	return len(s.Interfaces) > 0 && countUp(s) == len(s.Peers) &&
		(s.State == wire.StateOK || s.State == wire.StateDegraded)
}

// isRefusal tells an agent that will not answer from one that cannot yet.
func isRefusal(err error) bool {
	f, ok := errors.AsType[*wire.Fault](err)
	return ok && f.Status/100 == http.StatusBadRequest/100
}
