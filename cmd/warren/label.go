package main

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/wire"
)

func (a *app) hostLabel() *cobra.Command {
	var change wire.HostChange
	cmd := &cobra.Command{
		Use: "label NAME KEY=VALUE...", Short: "Give a host labels, for selectors of the policy",
		Long: "Give a host labels, which selectors of the policy ask for: label:KEY=VALUE. KEY- takes one away. The flows that\n" +
			"open and close by it do so at once.",
		Example: "  warren host label till-3 role=till floor=1\n  warren host label till-3 floor-",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return cli.Args("NAME", "KEY=VALUE")(cmd, args)
			}
			return nil
		},
		ValidArgsFunction: a.completeHosts(anyHost),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := parseLabels(&change, args[1:]); err != nil {
				return err
			}
			var h wire.HostView
			if err := a.call(cmd, http.MethodPatch, hostPath(args[0]), change, &h); err != nil {
				return err
			}
			tidyHost(&h)
			return a.show(h, func(p *cli.Page) {
				if len(h.Labels) == 0 {
					p.Line("%s has no labels.", h.Name)
					return
				}
				p.Line("%s has the labels %s", h.Name, labels(h.Labels))
			})
		},
	}
	cmd.Flags().StringVar(&change.Why, "why", "", "the `REASON`, for the audit log")
	return cmd
}

func parseLabels(c *wire.HostChange, args []string) error {
	c.Labels = map[string]string{}
	for _, arg := range args {
		if k, ok := strings.CutSuffix(arg, "-"); ok && !strings.Contains(arg, "=") {
			c.Remove = append(c.Remove, k)
			continue
		}
		k, v, ok := strings.Cut(arg, "=")
		if _, twice := c.Labels[k]; !ok || twice {
			return cli.Usage("warren host label --help", "%.80q is not KEY=VALUE or KEY-, or is there twice", arg)
		}
		c.Labels[k] = v
	}
	return nil
}

func labels(l map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(l)) {
		out = append(out, k+"="+l[k])
	}
	return strings.Join(out, " ")
}
