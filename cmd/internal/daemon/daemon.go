// Package daemon is what the two long-running programs have in common: where settings come from,
// how they log, how they tell systemd, and how they end.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/internal/version"
)

// Exit codes of both daemons.
const (
	exitFailed = 1
	exitUsage  = 2
)

// A Hinted error knows what helps.
type Hinted interface{ Hint() string }

// Settings are those that both daemons have.
type Settings struct {
	LogFormat string
	LogLevel  string
	Config    string
}

// Root makes the root command of a daemon.
func Root(name, short string) *cobra.Command {
	root := &cobra.Command{
		Use: name, Short: short, Version: version.String(),
		SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(&cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs, Example: "  " + name + " version",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), name, version.String())
			return err
		},
	})
	root.AddCommand(cli.DocsCommand(root))
	return root
}

// Bind gives a command the settings of all daemons, and fills every flag that was not given from the
// environment (WARREN_AGENT_LOG_LEVEL for --log-level, with the prefix "WARREN_AGENT_") or else from the
// YAML file, which may be missing unless it was named.
func Bind(cmd *cobra.Command, envPrefix, config string) *Settings {
	s := &Settings{}
	f := cmd.Flags()
	f.StringVar(&s.Config, "config", config, "YAML `FILE` with the same names as these flags")
	f.StringVar(&s.LogFormat, "log-format", "text", "text or json")
	f.StringVar(&s.LogLevel, "log-level", "info", "debug, info, warn or error")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		return usage(fill(cmd, envPrefix, os.LookupEnv))
	}
	return s
}

// Logger writes to w as the settings say.
func (s *Settings) Logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		return nil, usage(fmt.Errorf("--log-level %q: want debug, info, warn or error", s.LogLevel))
	}
	opts := &slog.HandlerOptions{Level: level}
	switch s.LogFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, usage(fmt.Errorf("--log-format %q: want text or json", s.LogFormat))
}

// Ready tells systemd that the service works; without systemd it does nothing.
func Ready(log *slog.Logger) { notify(log, sd.SdNotifyReady) }

// Stopping tells systemd that the service ends; without systemd it does nothing.
func Stopping(log *slog.Logger) { notify(log, sd.SdNotifyStopping) }

func notify(log *slog.Logger, state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		log.Warn("cannot tell systemd", "state", state, "error", err)
	}
}

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Usage marks an error as wrong usage: the program exits with 2.
func Usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// Main runs a daemon until it ends by itself or by SIGINT or SIGTERM, and returns its exit code.
func Main(root *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	ran := false
	root.PersistentPreRun = func(*cobra.Command, []string) { ran = true }
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", root.Name(), err)
	var hinted Hinted
	if errors.As(err, &hinted) && hinted.Hint() != "" {
		fmt.Fprintf(os.Stderr, "hint: %s\n", hinted.Hint())
	}
	var u usageError
	if errors.As(err, &u) || !ran { // cobra itself refused the words of the command
		fmt.Fprintf(os.Stderr, "see: %s --help\n", root.Name())
		return exitUsage
	}
	return exitFailed
}
