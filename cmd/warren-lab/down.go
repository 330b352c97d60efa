package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
)

// endTimeout is for a machine that is busy with other things; it takes a fraction of a second.
const endTimeout = 30 * time.Second

func (a *app) downCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "down",
		Short:   "End the lab; nothing is left behind",
		Example: "  warren-lab down",
		Args:    cli.Args(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.down(cmd.Context()) },
	}
}

func (a *app) down(ctx context.Context) error {
	client, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	if err := client.Down(a.proc.Now().Add(endTimeout)); err != nil {
		return cli.Fail("still-there", "ps -ef | grep warren-lab", "ending the lab %q: %v", a.name, err)
	}
	return nil
}
