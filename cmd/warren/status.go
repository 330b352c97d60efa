package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/warren/client"
	"github.com/warren-mesh/warren/peers/wire"
)

func (a *app) statusCommand() *cobra.Command {
	watch := false
	cmd := &cobra.Command{
		Use: "status", Short: "What this host is, has and lacks", Args: cli.Args(),
		Long: `What this host is, has and lacks.

The exit code says it to scripts: 0 all is well, 3 something is degraded, 4 down, not enrolled, or the agent
does not run.`,
		Example: "  warren status\n  warren status --watch\n" +
			"  warren status -o json | jq -r '.peers[] | select(.state != \"up\") | .host'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return a.watchStatus(cmd.Context(), a.agent(cmd))
			}
			s, err := readStatus(cmd.Context(), a.agent(cmd))
			if err != nil {
				return err
			}
			if err := a.show(s, func(p *cli.Page) { viewStatus(p, s) }); err != nil {
				return err
			}
			return exitOf(s)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false,
		"show it again every second, with -o json one line each, until interrupted")
	return cmd
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

// watchStatus shows the status again and again. An agent that is away, as while it is restarted, is shown
// too and does not end it; only the user does.
func (a *app) watchStatus(ctx context.Context, agent *client.Client) error {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		s, err := readStatus(ctx, agent)
		if ctx.Err() != nil {
			return nil
		}
		if err := a.frame(s, err); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// frame shows one status of many. On a terminal it replaces the one before: the cursor goes home, every
// line is cleared to its end, and what is below is cleared (ECMA-48 CUP, EL, ED), so that nothing flickers.
func (a *app) frame(s *wire.Status, err error) error {
	if a.format == cli.JSON {
		if err != nil {
			return cli.WriteErrorLine(a.proc.Stdout, err)
		}
		return cli.WriteJSONLine(a.proc.Stdout, s)
	}
	var b strings.Builder
	page := a.page()
	page.W = &b
	if err != nil {
		cli.TellError(page, "warren", err)
	} else {
		viewStatus(page, s)
	}
	text := b.String() + "\n"
	if cli.IsTerminal(a.proc.Stdout) {
		text = "\x1b[H" + strings.ReplaceAll(clip(text, cli.Height(a.proc.Stdout)), "\n", "\x1b[K\n") + "\x1b[J"
	}
	if _, err := fmt.Fprint(a.proc.Stdout, text); err != nil {
		return errors.New("cannot write to stdout")
	}
	return nil
}

// clip cuts text to the lines that a terminal has, less the one in which the cursor is.
func clip(text string, lines int) string {
	parts := strings.SplitAfter(text, "\n")
	if len(parts) <= lines {
		return text
	}
	return strings.Join(parts[:max(1, lines-2)], "") + fmt.Sprintf("… %d more lines: warren status\n", len(parts)-lines+1)
}
