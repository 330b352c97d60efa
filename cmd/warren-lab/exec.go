package main

import (
	"cmp"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/internal/lab/control"
)

func (a *app) execCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec HOST [-- COMMAND...]",
		Short: "Run a command on a host, or a shell",
		Long: `Runs a command on a host of the lab, with this command's input, output, environment and exit code; without one,
a shell. The host "internet" is the router between the hosts, where every packet comes by.`,
		Example: "  warren-lab exec shop -- warren status\n  warren-lab exec warehouse",
		Args:    cobra.ArbitraryArgs,
		RunE:    a.exec,
	}
	cmd.Flags().SetInterspersed(false) // what comes after the host is the command's
	return cmd
}

func (a *app) exec(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cli.Usage("warren-lab status", "warren-lab exec needs a HOST")
	}
	host, argv := args[0], args[1:]
	if len(argv) > 0 && argv[0] == "--" {
		argv = argv[1:]
	}
	if len(argv) == 0 {
		argv = []string{cmp.Or(a.proc.Env("SHELL"), "/bin/sh")}
	}
	streams, err := files(a.proc.Stdin, a.proc.Stdout, a.proc.Stderr)
	if err != nil {
		return err
	}
	client, err := a.dial(cmd.Context())
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	request := control.Request{Host: host, Argv: argv, Env: os.Environ(), Dir: dir}
	code, err := client.Exec(request, streams[0], streams[1], streams[2])
	switch {
	case err != nil:
		return cli.Fail("exec", a.command("status"), "%v", err)
	case code != 0:
		return cli.Exit(code)
	}
	return nil
}

// files are the standard streams, which are handed over as they are.
func files(streams ...any) ([]*os.File, error) {
	var out []*os.File
	for _, stream := range streams {
		f, ok := stream.(*os.File)
		if !ok {
			return nil, errors.New("the standard streams cannot be handed over to the lab: they are no files")
		}
		out = append(out, f)
	}
	return out, nil
}
