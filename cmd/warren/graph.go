package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/warren/drawing"
	"github.com/warren-mesh/warren/peers/wire"
)

func (a *app) graphCommand() *cobra.Command {
	format := "svg"
	formats := map[string]func(*wire.Graph) string{"svg": drawing.SVG, "dot": drawing.DOT, "mermaid": drawing.Mermaid}
	cmd := &cobra.Command{
		Use: "graph", Short: "Draw sites, hosts and the links between them", Args: cli.Args(),
		Long: "Draw sites, hosts and the links between them, as the hosts that are connected see them. A link is between two\n" +
			"hosts that have a flow; in a mesh of many hosts it is between sites, with how many pairs of hosts reach each\n" +
			"other. The picture is SVG; dot is for Graphviz, mermaid for wikis that know it.",
		Example: "  warren graph > mesh.svg\n  warren graph --format dot | dot -Tpng > mesh.png\n" +
			"  warren graph -o json | jq '.links[] | select(.state != \"up\")'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			draw := formats[format]
			if draw == nil {
				return cli.Usage("warren graph --help", "there is no format %.40q: want svg, dot or mermaid", format)
			}
			var g wire.Graph
			if err := a.call(cmd, http.MethodGet, wire.PathGraph, nil, &g); err != nil {
				return err
			}
			g.Sites, g.Links = listed(g.Sites), listed(g.Links)
			return a.show(g, func(*cli.Page) { fmt.Fprint(a.proc.Stdout, draw(&g)) })
		},
	}
	cmd.Flags().StringVar(&format, "format", format, "svg, dot or mermaid")
	complete(cmd, "format", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"svg", "dot", "mermaid"}, cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}
