package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/internal/demo"
	"github.com/warren-mesh/warren/cmd/internal/lab/control"
	"github.com/warren-mesh/warren/cmd/internal/orders"
	"github.com/warren-mesh/warren/cmd/internal/version"
)

// defaultName is what the lab of somebody who has one lab is called.
const defaultName = "lab"

// An app is one run of the program: the process and the flags that all commands have.
type app struct {
	proc *cli.Process
	name string
}

func newApp(p *cli.Process) *app { return &app{proc: p} }

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "warren-lab",
		Short: "The sites of a company on this machine, to try things out",
		Long: `Warren-lab builds hosts on this machine, each on a subnet of its own behind a router that plays the internet,
and runs the real controller and agents on them. It works as root and as an ordinary user, needs nothing but
/dev/net/tun, changes nothing on this machine, and leaves nothing behind however it ends.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a process of the lab has ended, 4 not running; exec: the command's.`,
		Example: "  warren-lab demo\n  warren-lab up --detach\n  warren-lab exec shop -- warren status\n  warren-lab down",
		Version: version.String(),
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().StringVar(&a.name, "name", defaultName, "`NAME` of the lab; there can be several")
	root.AddCommand(demo.Command(), a.upCommand(), a.execCommand(), a.statusCommand(), a.downCommand(),
		orders.Command(), cli.DocsCommand(root))
	cli.Prepare(root)
	return root
}

// place is where the lab of this name answers.
func (a *app) place() (control.Place, error) {
	place, err := control.At(a.name, a.proc.Env)
	if err != nil {
		return place, cli.Usage("warren-lab --help", "%v", err)
	}
	return place, nil
}

// dial connects to the running lab.
func (a *app) dial(ctx context.Context) (*control.Client, error) {
	place, err := a.place()
	if err != nil {
		return nil, err
	}
	client, err := place.Dial(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		down := cli.Fail("not-running", a.command("up --detach")+" starts it; a lab belongs to the user who has started it",
			"the lab %q is not running", a.name)
		down.Exit = cli.ExitDown
		return nil, down
	}
	return client, err
}

// command is a command line for hints about this lab.
func (a *app) command(words string) string {
	if a.name != defaultName {
		words += " --name " + a.name
	}
	return "warren-lab " + words
}

// programDir is where this program lies, and the others beside it.
func programDir() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Dir(path), nil
}
