package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/agent/linux"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/agent/tunnel"
	"github.com/warren-mesh/warren/peers"
)

// cleanCommand takes all of Warren off a host whose agent does not run.
func cleanCommand() *cobra.Command {
	var o options
	keep := false
	cmd := &cobra.Command{
		Use: "clean", Short: "Take all of Warren off this host, without an agent", Args: cobra.NoArgs,
		Long: `Take all of Warren off this host, without an agent: interfaces, their addresses, routes and tunnel processes,
the firewall table, identity, keys and plans. It needs neither the controller nor a data directory that can be
read, and what is not Warren's stays as it is. Where there is nothing, it does nothing and exits with 0.

While an agent runs on the data directory it does nothing and fails: then warren leave is the way.`,
		Example: "  systemctl stop warren-agent && warren-agent clean",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return clean(cmd.Context(), &o, keep, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&o.dataDir, "data-dir", "/var/lib/warren-agent", "`DIR` for identity, keys and plans")
	cmd.Flags().StringVar(&o.socket, "socket", "/run/warren-agent/agent.sock", "unix socket that an agent has left")
	cmd.Flags().BoolVar(&keep, "keep-files", false, "keep identity, keys and plans, with which an agent goes on later")
	return cmd
}

// clean does what can be done, whatever fails, unless an agent runs: it would bring everything back.
func clean(ctx context.Context, o *options, keep bool, out io.Writer) (err error) {
	const hint = "stop it first: systemctl stop warren-agent; or let it leave by itself: warren leave --force"
	var dialer net.Dialer
	if c, err := dialer.DialContext(ctx, "unix", o.socket); err == nil {
		return hinted{errors.Join(fmt.Errorf("an agent answers at %s", o.socket), c.Close()), hint}
	}
	files, err := store.OpenIfThere(o.dataDir)
	switch {
	case errors.Is(err, store.ErrLocked):
		return hinted{err, hint}
	case err == nil:
		defer func() { err = errors.Join(err, files.Close()) }()
		if err = cleanKernel(ctx, out); !keep {
			err = errors.Join(err, cleanFiles(files, out))
		}
	case errors.Is(err, fs.ErrNotExist):
		err = cleanKernel(ctx, out)
	default:
		err = errors.Join(err, cleanKernel(ctx, out))
	}
	if err := errors.Join(err, removeSocket(o.socket)); err != nil {
		return explain(err, o)
	}
	return nil
}

// cleanKernel removes what is ours in the network, and the processes that serve it.
func cleanKernel(ctx context.Context, out io.Writer) (err error) {
	starter := tunnel.Starter{}
	k, err := linux.New(linux.Options{Backend: linux.None, Tunnels: starter, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	state, err := k.Observe(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, step := range peers.Diff(state, peers.Plan{}) {
		err := k.Apply(ctx, []peers.Step{step})
		switch {
		case errors.Is(err, peers.ErrForeign):
			fmt.Fprintf(out, "not done, because it is none of Warren's: %v\n", step)
		case err != nil:
			failed = append(failed, err)
		default:
			fmt.Fprintln(out, step)
		}
	}
	for _, name := range linux.LinkNames() { // of interfaces that were gone already
		if _, err := net.InterfaceByName(name); err != nil {
			failed = append(failed, starter.Hold(name)(ctx))
		}
	}
	return errors.Join(failed...)
}

// cleanFiles removes what is ours in the data directory, and the directory if nothing else is in it.
func cleanFiles(files *store.Store, out io.Writer) error {
	left, err := files.Clear()
	for _, name := range left {
		fmt.Fprintf(out, "%s stays: it is none of Warren's\n", filepath.Join(files.Path(), name))
	}
	return errors.Join(err, files.Remove())
}

// removeSocket removes the socket of an agent that was killed, and its directory if nothing else is in it.
func removeSocket(path string) error {
	st, err := os.Lstat(path)
	if isSocket := err == nil && st.Mode().Type() == fs.ModeSocket; isSocket {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove the socket of an agent that is gone: %w", err)
		}
	}
	if dir := filepath.Dir(path); filepath.Base(dir) == "warren-agent" {
		_ = os.Remove(dir) // under systemd it belongs to the unit
	}
	return nil
}
