package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

func (a *app) rotateCommand() *cobra.Command {
	reason := ""
	cmd := &cobra.Command{
		Use: "rotate", Short: "Replace all WireGuard keys and pre-shared keys of the mesh", Args: cli.Args(),
		Long: `Replace all WireGuard keys and pre-shared keys of the mesh while traffic flows.

Every host makes a new key and brings up a second interface for it. Each pair of hosts shakes hands there, then moves its
traffic, and then drops the old one. No packet is lost. Hosts that are offline hold up nobody but the next
rotation: their pairs stay on the old keys until they are back, or until the grace period is over
(warren mesh show).`,
		Example: "  warren rotate\n  warren rotate --reason 'a laptop with a backup was stolen'\n  warren rotate status",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var v wire.RotationView
			order := wire.RotationOrder{Why: reason}
			if err := a.call(cmd, http.MethodPost, wire.PathRotation, order, &v); err != nil {
				return err
			}
			return a.showRotation(v)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`TEXT` for the audit log")
	cmd.AddCommand(a.rotateStatus(), a.rotateSchedule())
	return cmd
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
		return
	}
	fields := []cli.Field{
		cli.F("rotation", "from generation %d to %d, begun %s", *v.Previous, v.Generation, cli.Ago(p.Now, v.Started)),
		cli.F("phase", "%s", phase(v.Phase)),
		cli.F("pairs", "%d: %d proven, %d switched, %d retired", v.Pairs.Total, v.Pairs.Proven, v.Pairs.Switched, v.Pairs.Retired),
	}
	if v.GraceEnds != nil && len(v.Waiting) > 0 {
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
