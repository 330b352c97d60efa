package main

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/wire"
)

func (a *app) siteRm() *cobra.Command {
	var order wire.SiteRemovalOrder
	yes, within := false, ""
	cmd := &cobra.Command{
		Use: "rm SITE", Short: "Remove a site that nobody uses", Args: cli.Args("SITE"),
		Long:    "Remove a site. No host may belong to it any more, and no token that is good yet may lead to it.",
		Example: "  warren site rm warehouse --dry-run\n  warren site rm warehouse", ValidArgsFunction: a.completeSites,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			order.Name = args[0]
			if order.Within, err = parseWithin(within); err != nil {
				return err
			}
			if !order.DryRun {
				if err := a.proc.Confirm("Remove site "+order.Name+"?", yes); err != nil {
					return err
				}
			}
			return a.removeSite(cmd, order)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&order.DryRun, "dry-run", false, "only tell what would come of it")
	f.StringVar(&order.Why, "why", "", "the `REASON`, for the audit log")
	addYes(cmd, &yes)
	addWithin(cmd, &within)
	return cmd
}

// removeSite has a site removed, and tells what comes of it.
func (a *app) removeSite(cmd *cobra.Command, order wire.SiteRemovalOrder) error {
	query := url.Values{}
	if order.DryRun {
		query.Set("dry_run", "true")
	}
	if order.Within > 0 {
		query.Set("within", strconv.Itoa(order.Within))
	}
	if order.Why != "" {
		query.Set("why", order.Why)
	}
	path := sitePath(order.Name)
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var r wire.SiteRemoval
	if err := a.call(cmd, http.MethodDelete, path, nil, &r); err != nil {
		return err
	}
	tidyConsequences(&r.Consequences)
	return a.show(r, func(p *cli.Page) {
		viewConsequences(p, &r.Consequences)
		if !r.Applied {
			p.Line("Nothing was changed. To do it, leave --dry-run away.")
			return
		}
		p.Line("Site %s is gone.", r.Removed)
		viewToConfirm(p, r.Pending)
	})
}
