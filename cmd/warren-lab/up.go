package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/lab/control"
)

// startTimeout is for a machine that is busy with other things.
const startTimeout = 2 * time.Minute

type upOptions struct {
	hosts  []string
	lans   bool
	detach bool
}

func (a *app) upCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the lab: a controller, and an enrolled agent on each host",
		Long: `Starts the lab and keeps it running, in the foreground until Ctrl-C, or with --detach until warren-lab down.
The controller has a host of its own, called controller; every other host is a site of its own.

Behind each of these is a LAN with one machine that knows nothing of the mesh: shop-pc behind shop. The others reach
the LAN once an admin has said so: warren site add shop --prefix 10.10.0.0/24 --gateway shop`,
		Example: "  warren-lab up --detach\n  warren-lab up --name small --hosts shop,warehouse",
		Args:    cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if lab.Inside() {
				return a.run(cmd.Context(), o)
			}
			return a.enter(cmd.Context(), o)
		},
	}
	cmd.Flags().StringSliceVar(&o.hosts, "hosts", []string{"shop", "warehouse", "accounting"}, "`NAMES` of the hosts")
	cmd.Flags().BoolVar(&o.lans, "lans", true, "a LAN behind each host, with a machine on it")
	cmd.Flags().BoolVarP(&o.detach, "detach", "d", false, "return when it is up, and leave it running")
	return cmd
}

// enter checks what can be checked outside of the lab, and goes in.
func (a *app) enter(ctx context.Context, o upOptions) error {
	if slices.Contains(o.hosts, lab.DefaultController) {
		return cli.Usage("warren-lab up --help", "the host %q is there by itself: leave it out of --hosts", lab.DefaultController)
	}
	if err := topology("", o).Check(); err != nil {
		return cli.Usage("warren-lab up --help", "%v", err)
	}
	place, err := a.place()
	if err != nil {
		return err
	}
	dir, err := programDir()
	if err != nil {
		return err
	}
	if err := lab.FindPrograms(dir); err != nil {
		return cli.Fail("no-programs", "make build", "%v", err)
	}
	// Asked first: a lab started in the background would only tell its log.
	if client, err := place.Dial(ctx); err == nil {
		return errors.Join(a.alreadyRunning(), client.Close())
	}
	if o.detach {
		return a.launch(ctx, place, o)
	}
	listener, err := place.Listen(ctx)
	if errors.Is(err, control.ErrRunning) {
		return a.alreadyRunning()
	}
	if err != nil {
		return err
	}
	return lab.Enter(lab.Options{Files: []*os.File{listener}, Remove: place.Files()})
}

func (a *app) alreadyRunning() error {
	return cli.Fail("running", a.command("down")+" ends it; --name starts another", "the lab %q is running already", a.name)
}

// run is the lab: it returns when the lab is to end.
func (a *app) run(ctx context.Context, o upOptions) (err error) {
	listener, err := net.FileListener(os.NewFile(3, "control"))
	if err != nil {
		return fmt.Errorf("taking over the control socket: %v", err)
	}
	dir, err := programDir()
	if err != nil {
		return err
	}
	l, err := lab.New(topology(dir, o))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := a.startMesh(ctx, l); err != nil {
		if ctx.Err() == nil {
			// It holds the daemons' logs, in lines that are to stay as they are.
			fmt.Fprintf(a.proc.Stderr, "warren-lab: %v\n", err)
		}
		return cli.Exit(cli.ExitFailed)
	}
	fmt.Fprint(a.proc.Stderr, a.guide(o))
	return control.Serve(ctx, listener, &backend{name: a.name, since: a.proc.Now(), lab: l})
}

func (a *app) startMesh(ctx context.Context, l *lab.Lab) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	_, err := lab.StartMesh(ctx, l, lab.MeshOptions{
		Progress: func(line string) { fmt.Fprintln(a.proc.Stderr, line) },
	})
	return err
}

// guide tells what can be done with a lab that is up.
func (a *app) guide(o upOptions) string {
	lines := [][2]string{
		{"exec " + o.hosts[0] + " -- warren status", "a command on a host"},
		{"exec " + o.hosts[0], "a shell there"},
		{"exec " + lab.DefaultController + " -- warren host ls", "as the admin"},
		{"exec " + lab.RouterName, "a shell on the router between them"},
		o.guideToLAN(),
		{"status", "the hosts, their addresses and processes"},
		{"down", "the end of it; nothing is left behind"},
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\nThe lab is up: %s, and the controller.\n\n", strings.Join(o.hosts, ", "))
	for _, line := range lines {
		if line[0] == "" {
			continue
		}
		words, rest, isExec := strings.Cut(line[0], " ")
		if isExec {
			rest = " " + rest
		}
		fmt.Fprintf(&text, "  %-52s  %s\n", a.command(words)+rest, line[1])
	}
	return text.String()
}
