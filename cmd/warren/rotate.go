package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// rotateFlags are those of warren rotate.
type rotateFlags struct {
	reason    string
	grace     string
	wait, now bool
	yes       bool
}

func (a *app) rotateCommand() *cobra.Command {
	var f rotateFlags
	cmd := &cobra.Command{
		Use: "rotate", Short: "Replace all WireGuard keys and pre-shared keys of the mesh", Args: cli.Args(),
		Long: `Replace all WireGuard keys and pre-shared keys of the mesh while traffic flows.

Every host makes a new key and brings up a second interface for it. Each pair of hosts shakes hands there, then moves its
traffic, and then drops the old one. No packet is lost. Hosts that are offline hold up nobody but the next
rotation: their pairs stay on the old keys until they are back, or until the grace period is over
(warren mesh show).

It begins at once, whatever the schedule says. In an emergency, --now says so: it needs a reason, and tells which
hosts keep the old keys for now because they are offline. They are waited for as long as otherwise, because tunnels of
a host that does not reach the controller may well carry traffic. When the old keys must go sooner, --grace says when:
whoever is not back by then is left behind, without a tunnel until the controller is reached. For a rotation that runs
already, warren mesh set grace=TIME does that. With --wait the command goes on until all have moved;
to interrupt it does not stop the rotation. Exit codes: 0 begun, or with --wait done; 1 refused or interrupted;
3 with --wait, all have moved but hosts that are offline.`,
		Example: "  warren rotate --wait\n  warren rotate --now --grace 10m --reason 'a laptop with a backup was stolen'\n" +
			"  warren rotate status",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.rotate(cmd, &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.reason, "reason", "", "`TEXT` for the audit log")
	flags.BoolVar(&f.wait, "wait", false, "show how it goes, until all have moved")
	flags.BoolVar(&f.now, "now", false, "it is an emergency: needs --reason")
	flags.StringVar(&f.grace, "grace", "", "a `TIME` that it waits for hosts that are away, 10s to 90d; else as the mesh has it")
	addYes(cmd, &f.yes)
	cmd.AddCommand(a.rotateStatus(), a.rotateSchedule(), a.rotateAbort())
	return cmd
}

func (a *app) rotate(cmd *cobra.Command, f *rotateFlags) error {
	if f.now && f.reason == "" {
		return cli.Usage("warren rotate --now --reason 'a laptop was stolen'", "--now needs --reason: others will want to know")
	}
	order, err := f.order()
	if err != nil {
		return err
	}
	if f.now {
		if err := a.proc.Confirm("Replace all keys of the mesh now?", f.yes); err != nil {
			return err
		}
	}
	c, err := a.admin(cmd)
	if err != nil {
		return err
	}
	var v wire.RotationView
	if err := c.Call(cmd.Context(), http.MethodPost, wire.PathRotation, order, &v); err != nil {
		return err
	}
	if f.now {
		a.tellOffline(&v)
	}
	if f.wait {
		return a.waitFor(cmd.Context(), c, &v)
	}
	return a.showRotation(v)
}

// order is what is asked of the controller. Whether the time makes sense is its business.
func (f *rotateFlags) order() (wire.RotationOrder, error) {
	o := wire.RotationOrder{Why: f.reason}
	if f.grace == "" {
		return o, nil
	}
	d, err := cli.ParseSpan(f.grace)
	if o.Grace = int(d / time.Second); err != nil || o.Grace == 0 {
		return o, cli.Usage("warren rotate --grace 10m", "--grace %.40q: want a time like 10m or 7d", f.grace)
	}
	return o, nil
}

// tellOffline says what becomes of hosts that are offline, which an emergency does not wait for either.
func (a *app) tellOffline(v *wire.RotationView) {
	var offline []string
	for _, w := range v.Waiting {
		if w.Code == peers.WaitOffline {
			offline = append(offline, w.Host)
		}
	}
	p := a.notes()
	if len(offline) == 0 {
		p.Line("All hosts are online: each of them replaces its keys now.")
		return
	}
	p.Line("Offline, and on the old keys until they are back: %s", shortened(offline))
	if v.GraceEnds != nil {
		p.Line("What is not back %s is left behind; sooner with: warren mesh set grace=TIME. To shut a host out at once: "+
			"warren host revoke NAME", cli.Until(p.Now, *v.GraceEnds))
	}
}

func (a *app) rotateStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how far the rotation is, and who is waited for", Args: cli.Args(),
		Example: "  warren rotate status\n  warren rotate status -o json | jq -r '.waiting[].host'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var v wire.RotationView
			if err := a.call(cmd, http.MethodGet, wire.PathRotation, nil, &v); err != nil {
				return err
			}
			return a.showRotation(v)
		},
	}
}

func (a *app) showRotation(v wire.RotationView) error {
	v.Waiting = listed(v.Waiting)
	return a.show(v, func(p *cli.Page) { viewRotation(p, &v) })
}

func viewRotation(p *cli.Page, v *wire.RotationView) {
	if v.Previous == nil {
		p.Line("Generation %d, since %s. No rotation runs.", v.Generation, cli.Span(p.Now.Sub(v.Started)))
		if v.Next != nil {
			p.Line("The next one begins %s, at %s.", cli.Until(p.Now, *v.Next), v.Next.UTC().Format(time.RFC3339))
		}
		return
	}
	fields := []cli.Field{
		cli.F("rotation", "from generation %d to %d, begun %s", *v.Previous, v.Generation, cli.Ago(p.Now, v.Started)),
		cli.F("phase", "%s", phase(v.Phase)),
		cli.F("pairs", "%d: %d proven, %d switched, %d retired", v.Pairs.Total, v.Pairs.Proven, v.Pairs.Switched, v.Pairs.Retired),
	}
	if v.Held {
		fields = append(fields, cli.F("held", "no more traffic moves: it is given up when all who have a new key have said so"))
	}
	if v.GraceEnds != nil && len(v.Waiting) > 0 && !v.Held {
		fields = append(fields, cli.F("grace", "hosts that stay away are left behind %s", cli.Until(p.Now, *v.GraceEnds)))
	}
	p.Fields(fields...)
	if len(v.Waiting) == 0 {
		return
	}
	p.Title("Waiting for", "their traffic flows on the old keys meanwhile")
	rows := make([][]any, 0, len(v.Waiting))
	for _, w := range v.Waiting {
		rows = append(rows, []any{w.Host, cli.Ago(p.Now, w.Since), w.Reason})
	}
	p.Grid([]string{"HOST", "SINCE", "REASON"}, rows)
}

// phase says in words what a rotation waits for.
func phase(ph peers.Phase) string {
	words := map[peers.Phase]string{
		peers.PhaseAnnounce: "hosts make their keys",
		peers.PhaseProve:    "pairs shake hands",
		peers.PhaseSwitch:   "traffic moves",
		peers.PhaseRetire:   "what is under way arrives",
	}
	return fmt.Sprintf("%s: %s", ph, words[ph])
}
