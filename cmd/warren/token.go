package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/wire"
)

func (a *app) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "token", Short: "Enrolment tokens: what a host needs to join",
		Example: "  warren token create --site warehouse",
	}
	cmd.AddCommand(a.tokenCreate(), a.tokenLs(), a.tokenRevoke())
	return cmd
}

func (a *app) tokenCreate() *cobra.Command {
	var order wire.TokenOrder
	var ttl time.Duration
	cmd := &cobra.Command{
		Use: "create --site SITE", Short: "Make a token for hosts of a site", Args: cli.Args(),
		Long: `Make a token with which hosts of a site can join. It is printed once: the controller keeps a hash of it only.

A site that does not exist yet is made.`,
		Example: "  warren token create --site warehouse\n" +
			"  warren token create --site shop --uses 20 --ttl 24h --approve   # each host waits for an admin\n" +
			"  TOKEN=$(warren token create --site shop -o json | jq -r .token)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOrder(&order, ttl); err != nil {
				return err
			}
			var made wire.TokenView
			if err := a.call(cmd, http.MethodPost, wire.PathTokens, order, &made); err != nil {
				return err
			}
			return a.show(made, func(p *cli.Page) { a.viewNewToken(p, made) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&order.Site, "site", "", "the `SITE` that the hosts belong to (needed)")
	f.StringVar(&order.Name, "name", "", "admit only a host with this `NAME`")
	f.DurationVar(&ttl, "ttl", time.Hour, "how long it is valid, as 30m or 24h")
	f.IntVar(&order.Uses, "uses", 1, "how many hosts can join with it")
	f.BoolVar(&order.Approve, "approve", false, "hosts wait until an admin approves them")
	complete(cmd, "site", a.completeSites)
	return cmd
}

func checkOrder(order *wire.TokenOrder, ttl time.Duration) error {
	const hint = "warren token create --help"
	switch {
	case order.Site == "":
		return cli.Usage(hint, "warren token create needs --site SITE")
	case ttl < time.Second:
		return cli.Usage(hint, "--ttl %v: want a second at least", ttl)
	case order.Uses < 1:
		return cli.Usage(hint, "--uses %d: want one at least", order.Uses)
	}
	order.TTL = int(ttl / time.Second)
	return nil
}

// viewNewToken prints the token alone on stdout, so that it can be piped, and all else beside it.
func (a *app) viewNewToken(p *cli.Page, t wire.TokenView) {
	p.Line("%s", t.Token)
	notes := a.notes()
	hosts := "one host"
	if t.Uses > 1 {
		hosts = fmt.Sprintf("%d hosts", t.Uses)
	}
	if t.Name != "" {
		hosts = "the host " + t.Name
	}
	notes.Line("\nToken %s for %s of site %s. It expires %s and is not shown again.",
		t.ID, hosts, t.Site, cli.Until(p.Now, t.Expires))
	notes.Line("On the host: warren enroll TOKEN")
	if t.Approve {
		notes.Line("Then here: warren host approve NAME")
	}
}

func (a *app) tokenLs() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List tokens", Args: cli.Args(), Example: "  warren token ls",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var tokens []wire.TokenView
			if err := a.call(cmd, http.MethodGet, wire.PathTokens, nil, &tokens); err != nil {
				return err
			}
			return a.show(listed(tokens), func(p *cli.Page) {
				if len(tokens) == 0 {
					a.notes().Line("There are no tokens. To make one: warren token create --site SITE")
					return
				}
				viewTokens(p, tokens)
			})
		},
	}
}

func viewTokens(p *cli.Page, tokens []wire.TokenView) {
	var rows [][]any
	for _, t := range tokens {
		tone := cli.Good
		if t.State != "valid" {
			tone = cli.Dim
		}
		approve := ""
		if t.Approve {
			approve = "yes"
		}
		rows = append(rows, []any{
			t.ID, t.Site, t.Name,
			cli.Cell{Text: t.State, Tone: tone},
			cli.Until(p.Now, t.Expires),
			fmt.Sprintf("%d of %d", t.Used, t.Uses), approve, cli.Ago(p.Now, t.Created),
		})
	}
	p.Grid([]string{"ID", "SITE", "NAME", "STATE", "EXPIRES", "USED", "APPROVE", "CREATED"}, rows)
}

func (a *app) tokenRevoke() *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use: "revoke ID", Short: "Make a token useless", Args: cli.Args("ID"), ValidArgsFunction: a.completeTokens,
		Long:    "Make a token useless. Hosts that have joined with it stay.",
		Example: "  warren token revoke k4q2m7",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.proc.Confirm("Revoke token "+args[0]+"?", yes); err != nil {
				return err
			}
			if err := a.call(cmd, http.MethodDelete, wire.PathTokens+"/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			v := struct {
				Revoked string `json:"revoked"`
			}{args[0]}
			return a.show(v, func(p *cli.Page) { p.Line("Token %s is revoked.", args[0]) })
		},
	}
	addYes(cmd, &yes)
	return cmd
}
