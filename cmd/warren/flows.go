package main

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/wire"
)

func (a *app) flowsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "flows", Short: "What this host lets in from the mesh, and what was dropped", Args: cli.Args(),
		Long: "What this host lets in from the mesh by the policy, how much of it there was in both directions, and what was\n" +
			"dropped by which rule. Counts begin with the guard and stay while a flow says the same.",
		Example: "  warren flows\n  warren flows -o json | jq '.dropped[] | select(.packets > 0)'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var r wire.FlowReport
			if err := a.agent(cmd).Call(cmd.Context(), http.MethodGet, wire.PathFlows, nil, &r); err != nil {
				return err
			}
			r.Allowed, r.Dropped = listed(r.Allowed), listed(r.Dropped)
			return a.show(r, func(p *cli.Page) { viewFlows(p, &r) })
		},
	}
}

func viewFlows(p *cli.Page, r *wire.FlowReport) {
	p.Fields(
		cli.Field{Name: "host", Value: cli.Cell{Text: r.Host, Tone: cli.Bold}},
		cli.Field{Name: "guard", Value: guardCell(&r.Guard)},
	)
	p.Title("Allowed", "")
	var rows [][]any
	for _, f := range r.Allowed {
		number, to := "", "this host"
		if f.Flow > 0 {
			number, to = fmt.Sprint(f.Flow), spaced(f.To)
		}
		rows = append(rows, []any{number, spaced(f.From), to, spaced(f.Allow), f.Packets, cli.Size(f.Bytes)})
	}
	p.Grid([]string{"FLOW", "FROM", "TO", "ALLOW", "PACKETS", "BYTES"}, rows)
	p.Title("Dropped", "")
	rows = nil
	for _, d := range r.Dropped {
		tone := cli.Plain
		if d.Packets > 0 {
			tone = cli.Bad
		}
		rows = append(rows, []any{d.Rule, cli.Cell{Text: fmt.Sprint(d.Packets), Tone: tone}, cli.Size(d.Bytes), d.Message})
	}
	p.Grid([]string{"RULE", "PACKETS", "BYTES", "WHAT"}, rows)
}

// guardCell is how things stand with the guard, in a few words.
func guardCell(g *wire.GuardStatus) cli.Cell {
	var words []string
	tone := cli.Plain
	switch g.Policy {
	case wire.PolicyAllowAll:
		words = append(words, "no policy: lets all of the mesh in (allow-all)")
	case wire.PolicyEnforced:
		words = append(words, fmt.Sprintf("lets %d flows in", g.Flows))
	default:
		words, tone = append(words, "the policy is not enforced here"), cli.Bad
	}
	switch g.Firewall {
	case wire.GuardOff:
		words = append(words, "firewall off")
	case wire.GuardMissing:
		words = append(words, "no nftables")
	default:
		words = append(words, "leak guard "+g.LeakGuard)
	}
	if g.LeakGuard != wire.GuardOn && tone == cli.Plain {
		tone = cli.Warn
	}
	return cli.Cell{Text: strings.Join(words, ", "), Tone: tone}
}
