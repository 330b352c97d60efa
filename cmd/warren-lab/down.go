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
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	place, err := a.place()
	if err != nil {
		return err
	}
	client, err := a.dial(ctx)
	if err != nil {
		return err
	}
	if err := client.Down(); err != nil {
		return err
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !place.Gone() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return cli.Fail("still-there", "ps -ef | grep warren-lab", "the lab %q has been told to end and does not", a.name)
		}
	}
	return nil
}
