package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/agent/linux"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/cmd/internal/daemon"
	"github.com/warren-mesh/warren/peers"
)

// guardCommand puts the guard in place before the network is up.
func guardCommand() *cobra.Command {
	var o options
	load := false
	cmd := &cobra.Command{
		Use: "guard", Short: "Put the last guard in place, before the network is up", Args: cobra.NoArgs,
		Long: `Put the last guard in place, without an agent: the nftables rules that were in force before this host went down.
systemd does that before the network is up (warren-guard.service), so that nothing for the mesh leaves in the
moments before the agent runs. Where there is none, or the firewall is off, it does nothing and exits with 0.`,
		Example: "  warren-agent guard --load",
	}
	cmd.Flags().BoolVar(&load, "load", false, "put it in place")
	o.bind(cmd) // all of them: they stand in the same file
	settings := daemon.Bind(cmd, "WARREN_AGENT_", "/etc/warren/agent.yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !load {
			return daemon.Usage("what shall be done? --load")
		}
		log, err := settings.Logger(os.Stderr)
		if err != nil {
			return err
		}
		return loadGuard(cmd.Context(), &o, log)
	}
	return cmd
}

func loadGuard(ctx context.Context, o *options, log *slog.Logger) (err error) {
	if err := o.checkGuard(); err != nil {
		return err
	}
	if o.firewall == off {
		return nil
	}
	files, err := store.OpenIfThere(o.dataDir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrLocked) {
		return nil // never enrolled; or the agent runs, and looks after it
	}
	if err != nil {
		return explain(err, o)
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	guard, err := files.Guard()
	if errors.Is(err, fs.ErrNotExist) || err == nil && guard.IsEmpty() {
		return nil
	}
	if err != nil {
		return explain(err, o)
	}
	if o.leakGuard == off {
		guard = guard.WithoutLeak()
	}
	kernel, err := linux.New(linux.Options{Backend: linux.None, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kernel.Close()) }()
	return kernel.Apply(ctx, []peers.Step{peers.SetGuard{Guard: guard}})
}
