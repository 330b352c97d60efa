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
	within := ""
	cmd := &cobra.Command{
		Use: "label NAME KEY=VALUE...", Short: "Give a host labels, for selectors of the policy",
		Long: "Give a host labels, which selectors of the policy ask for: label:KEY=VALUE. KEY- takes one away. It prints the\n" +
			"flows that open and close by it, which they do at once, and the hosts that are left alone.",
		Example: "  warren host label till-3 role=till floor=1\n  warren host label till-3 floor- --dry-run",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return cli.Args("NAME", "KEY=VALUE")(cmd, args)
			}
			return nil
		},
		ValidArgsFunction: a.completeHosts(anyHost),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := parseLabels(&change, args[1:])
			if err == nil {
				change.Within, err = parseWithin(within)
			}
			if err != nil {
				return err
			}
			var r wire.HostResult
			if err := a.call(cmd, http.MethodPatch, hostPath(args[0]), change, &r); err != nil {
				return err
			}
			tidyHost(&r.Host)
			tidyConsequences(&r.Consequences)
			return a.show(r, func(p *cli.Page) { viewLabelled(p, &r) })
		},
	}
	cmd.Flags().BoolVar(&change.DryRun, "dry-run", false, "only tell what would come of it")
	cmd.Flags().StringVar(&change.Why, "why", "", "the `REASON`, for the audit log")
	addWithin(cmd, &within)
	return cmd
}

func viewLabelled(p *cli.Page, r *wire.HostResult) {
	viewConsequences(p, &r.Consequences)
	p.Line("")
	if !r.Applied {
		p.Line("Nothing was changed. To do it, leave --dry-run away.")
		return
	}
	if len(r.Host.Labels) == 0 {
		p.Line("%s has no labels.", r.Host.Name)
	} else {
		p.Line("%s has the labels %s", r.Host.Name, labels(r.Host.Labels))
	}
	viewToConfirm(p, r.Pending)
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
