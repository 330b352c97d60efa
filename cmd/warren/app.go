package main

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/internal/version"
	"github.com/warren-mesh/warren/cmd/warren/client"
	"github.com/warren-mesh/warren/peers/key"
)

// Where the daemons listen, unless a flag or the environment says something else.
const (
	agentSocket      = "/run/warren-agent/agent.sock"
	controllerSocket = "/run/warren-controller/controller.sock"
)

// Groups of commands in the help text.
const (
	onHost  = "host"
	asAdmin = "admin"
	other   = "other"
)

// An app is one run of the program: the process and the flags that all commands have.
type app struct {
	proc       *cli.Process
	agentPath  string
	controller string
	pin        string
	format     cli.Format
}

func newApp(p *cli.Process) *app { return &app{proc: p, format: cli.Table} }

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "warren",
		Short: "Tunnels between the sites of a company",
		Long: `Warren connects the sites of a company in WireGuard tunnels that only those who live in them can enter.

This program talks to the agent of this host and to the controller of the mesh. Exit codes: 0 done or
healthy, 1 failed, 2 wrong usage, 3 degraded, 4 down, not enrolled or not reachable.`,
		Example: "  warren enroll warren1.AbCd…   # on a new host, with a token from the admin\n" +
			"  warren status                 # what this host is, has and lacks\n" +
			"  warren token create --site warehouse",
		Args: cobra.NoArgs,
	}
	showVersion := false
	root.Flags().BoolVar(&showVersion, "version", false, "print the version")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case showVersion:
			return a.printVersion()
		case a.format == cli.JSON:
			return cli.Usage("warren --help", "warren needs a command")
		}
		return cmd.Help()
	}
	f := root.PersistentFlags()
	f.StringVar(&a.agentPath, "agent", agentSocket, "`PATH` of the agent's socket; also WARREN_AGENT")
	f.StringVar(&a.controller, "controller", "unix:"+controllerSocket,
		"`ADDRESS` of the controller, unix:PATH or HOST:PORT; also WARREN_CONTROLLER")
	f.StringVar(&a.pin, "pin", "", "identity `KEY` of the controller at HOST:PORT, from warren mesh show; also WARREN_PIN")
	f.VarP(&a.format, cli.OutputFlag, "o", "how to write results")
	root.AddGroup(
		&cobra.Group{ID: onHost, Title: "On a host"},
		&cobra.Group{ID: asAdmin, Title: "As an admin, on the controller or from elsewhere"},
		&cobra.Group{ID: other, Title: "Other"},
	)
	add(root, onHost, a.enrollCommand(), a.statusCommand(), a.pingCommand(), a.doctorCommand(), a.flowsCommand(),
		a.leaveCommand(), a.metricsCommand())
	add(root, asAdmin, a.applyCommand(), a.exportCommand(), a.graphCommand(), a.hostCommand(), a.siteCommand(), a.policyCommand(),
		a.tokenCommand(), a.rotateCommand(), a.meshCommand(),
		a.adminCommand(), a.auditCommand())
	add(root, other, a.completionCommand(), a.versionCommand())
	root.SetHelpCommandGroupID(other)
	root.AddCommand(cli.DocsCommand(root))
	a.completeFlags(root)
	cli.Prepare(root)
	return root
}

func add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}

// setting is a flag where it was given, else the environment, else the flag's default.
func (a *app) setting(cmd *cobra.Command, flag, value, env string) string {
	if v := a.proc.Env(env); v != "" && !cmd.Flags().Changed(flag) {
		return v
	}
	return value
}

// agent is the agent of this host.
func (a *app) agent(cmd *cobra.Command) *client.Client {
	path := a.setting(cmd, "agent", a.agentPath, "WARREN_AGENT")
	return client.Unix("agent", strings.TrimPrefix(path, "unix:"))
}

// admin is the controller, for admins.
func (a *app) admin(cmd *cobra.Command) (*client.Client, error) {
	at := a.setting(cmd, "controller", a.controller, "WARREN_CONTROLLER")
	if path, ok := strings.CutPrefix(at, "unix:"); ok {
		return client.Unix("controller", path), nil
	}
	if strings.HasPrefix(at, "/") {
		return client.Unix("controller", at), nil
	}
	if host, port, err := net.SplitHostPort(at); err != nil || host == "" || port == "" {
		return nil, cli.Usage("for instance: --controller 203.0.113.5:7443",
			"%.80q is no address of a controller: want unix:PATH or HOST:PORT", at)
	}
	pin := a.setting(cmd, "pin", a.pin, "WARREN_PIN")
	if pin == "" {
		return nil, cli.Usage("it is told on the controller by: warren mesh show",
			"to reach the controller at %s, its identity key is needed: --pin KEY or WARREN_PIN", at)
	}
	controller, err := key.ParseIdentity(pin)
	if err != nil {
		return nil, cli.Usage("it is told on the controller by: warren mesh show", "--pin: %v", err)
	}
	me, err := a.readIdentity()
	if err != nil {
		return nil, err
	}
	return client.TLS(at, controller, me)
}

// call does one request to the controller.
func (a *app) call(cmd *cobra.Command, method, path string, in, out any) error {
	c, err := a.admin(cmd)
	if err != nil {
		return err
	}
	return c.Call(cmd.Context(), method, path, in, out)
}

// show writes a result: v as JSON, or what view makes of it.
func (a *app) show(v any, view func(*cli.Page)) error {
	if a.format == cli.JSON {
		return cli.WriteJSON(a.proc.Stdout, v)
	}
	view(a.page())
	return nil
}

func (a *app) page() *cli.Page {
	return &cli.Page{W: a.proc.Stdout, Now: a.now(), Colour: a.proc.Colour(a.proc.Stdout)}
}

// notes is where messages go that are no result.
func (a *app) notes() *cli.Page {
	return &cli.Page{W: a.proc.Stderr, Now: a.now(), Colour: a.proc.Colour(a.proc.Stderr)}
}

func (a *app) now() time.Time { return a.proc.Now() }

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cli.Args(), Example: "  warren version",
		RunE: func(*cobra.Command, []string) error { return a.printVersion() },
	}
}

func (a *app) printVersion() error {
	v := struct {
		Program string `json:"program"`
		Version string `json:"version"`
		Commit  string `json:"commit"`
		Date    string `json:"date"`
		Build   string `json:"build"`
	}{"warren", version.Short(), version.Commit(), version.Date(), version.String()}
	return a.show(v, func(p *cli.Page) { p.Line("%s %s", v.Program, v.Build) })
}

// soon gives up early: completion must not make anybody wait.
func soon(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Second)
}
