package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/warren/client"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	maxPasted = 16 << 10 // bytes; a token has some 200
	patience  = 15 * time.Second
)

func (a *app) enrollCommand() *cobra.Command {
	order := wire.LocalEnroll{}
	timeout := time.Minute
	cmd := &cobra.Command{
		Use: "enroll [TOKEN]", Short: "Join a mesh with a token from the admin",
		Long: `Join a mesh with a token from the admin. The agent of this host makes the keys, which never leave it.

It returns when the first plan is applied and all peers have answered, or says which have not. TOKEN may
also come from stdin (TOKEN is -) or from WARREN_TOKEN, which keep it out of the list of processes.

Exit codes: 0 all peers are up, 1 refused, 3 enrolled, but a peer has not answered yet or an admin must
approve the host, 4 the agent does not run. The agent goes on trying after 3.`,
		Example: "  warren enroll warren1.AbCd…\n" +
			"  warren enroll - --name warehouse < token",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cli.Args("TOKEN")(cmd, args)
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if timeout < time.Second {
				return cli.Usage("warren enroll --help", "--timeout %v: want a second at least", timeout)
			}
			order.Timeout = int(timeout / time.Second)
			if order.Token, err = a.token(args); err != nil {
				return err
			}
			// The agent keeps to the time-out by itself; one that hangs shall not hang its user.
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout+patience)
			defer cancel()
			return a.enroll(ctx, a.agent(cmd), order)
		},
	}
	cmd.Flags().StringVar(&order.Name, "name", "", "the host's `NAME` in the mesh (default this machine's host name)")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait for the peers, as 90s or 5m")
	return cmd
}

// token finds the token: argument before environment.
func (a *app) token(args []string) (string, error) {
	token := a.proc.Env("WARREN_TOKEN")
	if len(args) > 0 {
		token = args[0]
	}
	if token == "-" {
		if cli.IsTerminal(a.proc.Stdin) {
			a.notes().Line("Paste the token, then press Enter:")
		}
		line, err := bufio.NewReader(io.LimitReader(a.proc.Stdin, maxPasted)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the token: %v", err)
		}
		token = line
	}
	if token = strings.TrimSpace(token); token == "" {
		return "", cli.Usage("ask an admin for one: warren token create --site SITE",
			"warren enroll needs a token: as an argument, on stdin (-) or in WARREN_TOKEN")
	}
	return token, nil
}

func (a *app) enroll(ctx context.Context, agent *client.Client, order wire.LocalEnroll) error {
	steps := newSteps(a)
	defer steps.close()
	for p, err := range client.Stream[wire.Progress](ctx, agent, http.MethodPost, wire.PathLocalEnroll, order) {
		switch {
		case errors.Is(err, context.Canceled):
			return cli.Fail("interrupted", "the agent may be through with it all the same: warren status", "interrupted")
		case err != nil:
			return err
		case p.Fault != nil:
			return p.Fault
		}
		steps.next(p)
		if p.Done && p.Status != nil {
			steps.close()
			return a.enrolled(p.Status)
		}
	}
	return agent.Ended()
}

// enrolled ends an enrolment: with a summary, and an exit code that says whether all is well.
func (a *app) enrolled(s *wire.Status) error {
	tidyStatus(s)
	if err := a.show(s, func(p *cli.Page) { viewEnrolled(p, s) }); err != nil {
		return err
	}
	if s.State != wire.StateOK || countUp(s) < len(s.Peers) {
		return cli.Exit(cli.ExitDegraded)
	}
	return nil
}

func viewEnrolled(p *cli.Page, s *wire.Status) {
	p.Line("%s is %s%s.", s.Host, shown(s.Address), place(s))
	switch up := countUp(s); {
	case len(s.Peers) == 0 && s.State == wire.StateOK:
		p.Line("It is the first host here.")
	case len(s.Peers) == 0:
	case len(s.Peers) == 1 && up == 1:
		p.Line("Its peer %s is up.", s.Peers[0].Host)
	case up == len(s.Peers):
		p.Line("All %d peers are up.", up)
	default:
		p.Line("%d of %d peers are up. The agent goes on trying: warren status", up, len(s.Peers))
		for _, peer := range s.Peers {
			if peer.State != wire.PeerUp {
				fmt.Fprintf(p.W, "  %s has not answered yet\n", p.Paint(cli.Warn, peer.Host))
			}
		}
	}
	if len(s.Problems) > 0 {
		p.Line("")
		p.Problems(s.Problems)
	}
}

// place is where the host has come to. The mesh's name comes with the first plan.
func place(s *wire.Status) string {
	if s.Mesh == "" {
		return " of site " + s.Site
	}
	return " in mesh " + s.Mesh + ", site " + s.Site
}
