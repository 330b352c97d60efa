package main

import (
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/warren/meshfile"
	"github.com/warren-mesh/warren/peers/wire"
)

const applyHelp = `
The file is YAML, as warren export writes it:

  settings: {mtu: 1420, keepalive: 25, grace: 7d}
  schedule: {every: 30d, windows: ["Sun 02:00-04:00 Europe/Berlin"]}    # or: none
  sites:
    warehouse: {prefixes: [10.20.0.0/24], gateways: [wh-gw1, wh-gw2]}
    shop: {}
  hosts:
    till-3: {labels: {role: till}}
  policy:
    flows: [{from: label:role=till, to: site:warehouse, allow: tcp/5432}]
    tests: [{from: host:till-3, to: site:warehouse, proto: tcp/5432, expect: allow}]

A section that is missing stays as it is. A section that is there is the whole truth: a setting that it does not name
gets its default, a site that it does not name goes, unless hosts or tokens use it, and a host that it does not name
loses its labels. Hosts must have enrolled; whether one is suspended or revoked is not for a file. All of it is one
change: it is done as a whole or not at all.

With --confirm-within the controller takes the change back by itself, also when it was restarted meanwhile, unless
warren apply --confirm follows. Until then nobody else changes what it has changed. warren mesh show tells how long
is left.`

// applyFlags are those of warren apply.
type applyFlags struct {
	file, within    string
	confirm, revert bool
	yes             bool
	order           wire.DeclaredOrder
}

func (a *app) applyCommand() *cobra.Command {
	var f applyFlags
	cmd := &cobra.Command{
		Use: "apply {-f FILE | --confirm | --revert}", Short: "Make the mesh what a file says", Args: cli.Args(),
		Long: "Make the mesh what a file says; - is stdin. What would change is shown first: objects before and after, flows\n" +
			"that open and close, hosts that are left alone. On a terminal it asks; a script says --yes.\n" + applyHelp,
		Example: "  warren export > mesh.yaml\n  warren apply -f mesh.yaml --dry-run\n" +
			"  warren apply -f mesh.yaml --confirm-within 2m && warren apply --confirm",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runApply(cmd, &f) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "file", "f", "", "`FILE` that says what the mesh shall be; - is stdin")
	flags.BoolVar(&f.order.DryRun, "dry-run", false, "only tell what would come of it")
	flags.BoolVar(&f.confirm, "confirm", false, "let the change stay that waits to be confirmed")
	flags.BoolVar(&f.revert, "revert", false, "take the change back that waits to be confirmed, now")
	flags.StringVar(&f.order.Why, "why", "", "the `REASON`, for the audit log")
	addYes(cmd, &f.yes)
	cmd.Flag("yes").Usage = "do not ask; a script must say so"
	addWithin(cmd, &f.within)
	_ = cmd.MarkFlagFilename("file", "yaml", "yml") // there is such a flag
	return cmd
}

// addWithin adds the flag that makes a change one which is to be confirmed.
func addWithin(cmd *cobra.Command, within *string) {
	cmd.Flags().StringVar(within, "confirm-within", "",
		"take it back after `TIME` (10s to 24h) unless warren apply --confirm follows")
}

// parseWithin reads the flag as seconds; 0 where it was not given.
func parseWithin(within string) (int, error) {
	if within == "" {
		return 0, nil
	}
	d, err := cli.ParseSpan(within)
	if err != nil || d < time.Second {
		return 0, cli.Usage("for instance: --confirm-within 2m", "--confirm-within %.40q: want a time", within)
	}
	return int(d / time.Second), nil
}

func (a *app) runApply(cmd *cobra.Command, f *applyFlags) error {
	switch {
	case f.file != "" && !f.confirm && !f.revert:
		return a.applyFile(cmd, f)
	case f.file == "" && f.confirm && !f.revert:
		return a.endPending(cmd, wire.PendingConfirm, "The change stays. The mesh is at revision %d.")
	case f.file == "" && f.revert && !f.confirm:
		return a.endPending(cmd, wire.PendingRevert, "The change is taken back. The mesh is at revision %d.")
	}
	return cli.Usage("warren apply --help", "want one of -f FILE, --confirm and --revert")
}

func (a *app) applyFile(cmd *cobra.Command, f *applyFlags) error {
	file, err := a.readFile(f.file, "mesh-file", "warren apply --help", meshfile.Parse)
	if err == nil {
		f.order.Within, err = parseWithin(f.within)
	}
	if err != nil {
		return err
	}
	if !f.yes && !f.order.DryRun {
		if done, err := a.confirmApply(cmd, f, file); done || err != nil {
			return err
		}
	}
	r, err := a.sendDeclared(cmd, f.file, file, f.order)
	if err != nil {
		return err
	}
	return a.show(r, func(p *cli.Page) { viewApplied(p, &r) })
}

// confirmApply shows what would come of a file and asks. What is done then is what was shown, or nothing. It reports
// whether that is all, because there is nothing to do.
func (a *app) confirmApply(cmd *cobra.Command, f *applyFlags, file *meshfile.File) (done bool, err error) {
	if f.file == "-" || !cli.IsTerminal(a.proc.Stdin) {
		return false, cli.Usage("look first with --dry-run, then: --yes", "nobody can be asked here whether to change the mesh")
	}
	order := f.order
	order.DryRun = true
	r, err := a.sendDeclared(cmd, f.file, file, order)
	if err != nil {
		return false, err
	}
	if len(r.Changes) == 0 {
		return true, a.show(r, func(p *cli.Page) { viewApplied(p, &r) })
	}
	viewChanges(a.notes(), &r)
	f.order.Expect = r.Digest
	return false, a.proc.Confirm("Change the mesh?", false)
}

func (a *app) sendDeclared(
	cmd *cobra.Command, path string, file *meshfile.File, order wire.DeclaredOrder,
) (r wire.DeclaredResult, err error) {
	order.Declared = file.Declared
	if err := a.call(cmd, http.MethodPut, wire.PathDeclared, order, &r); err != nil {
		return r, located(err, path, file)
	}
	for i := range r.Warnings {
		spot(path, file, &r.Warnings[i])
	}
	r.Changes = listed(r.Changes)
	tidyConsequences(&r.Consequences)
	return r, nil
}

// endPending lets a change stay that waits to be confirmed, or takes it back.
func (a *app) endPending(cmd *cobra.Command, action, said string) error {
	var m wire.MeshView
	if err := a.call(cmd, http.MethodPost, wire.PathPending+"/"+action, nil, &m); err != nil {
		return err
	}
	m.Controllers, m.Generations = listed(m.Controllers), listed(m.Generations)
	return a.show(m, func(p *cli.Page) { p.Line(said, m.Revision) })
}

func (a *app) exportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "export", Short: "Write what holds now as a file for warren apply", Args: cli.Args(),
		Long: "Write what holds now as a file for warren apply. While nobody changes anything the file is the same, byte for\n" +
			"byte, so it can be kept under version control and compared.",
		Example: "  warren export > mesh.yaml\n  warren export | diff mesh.yaml -\n  warren export -o json | jq '.declared.sites'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var v wire.DeclaredView
			if err := a.call(cmd, http.MethodGet, wire.PathDeclared, nil, &v); err != nil {
				return err
			}
			return a.show(v, func(*cli.Page) { a.writeExport(&v) })
		},
	}
}

func (a *app) writeExport(v *wire.DeclaredView) {
	out := a.proc.Stdout
	_, _ = out.Write([]byte("# What holds for the mesh. To change it: warren apply -f FILE\n")) // as with every page
	_, _ = out.Write(meshfile.Write(&v.Declared))
	if v.Declared.Policy == nil {
		_, _ = out.Write([]byte("# There is no policy: everybody may talk to everybody.\n"))
	}
}
