package main

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

func (a *app) adminCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "admin", Short: "Who may administer the mesh from elsewhere",
		Long: `Who may administer the mesh from elsewhere.

On the controller itself, root and the group warren-admin may do everything, and the group warren may look.
From elsewhere an admin is known by an identity key. To let somebody in:

  anna$        warren admin key                    # prints wid1…
  controller#  warren admin add anna wid1…
  controller#  warren mesh show                    # prints the pin of the controller
  anna$        warren --controller vpn.example.com:7443 --pin wid1… host ls`,
		Example: "  warren admin ls",
	}
	cmd.AddCommand(a.adminKey(), a.adminAdd(), a.adminLs(), a.adminRm())
	return cmd
}

func (a *app) adminKey() *cobra.Command {
	return &cobra.Command{
		Use: "key", Short: "Print your identity key, and make one if you have none", Args: cli.Args(),
		Long: `Print the public half of your identity key, and make the key if you have none.

The private half is in $XDG_CONFIG_HOME/warren/identity (usually ~/.config/warren/identity) and never leaves it.`,
		Example: "  warren admin key",
		RunE: func(*cobra.Command, []string) error {
			k, err := a.ownIdentity()
			if err != nil {
				return err
			}
			path, err := a.identityPath()
			if err != nil {
				return err
			}
			v := struct {
				Identity key.Identity `json:"identity"`
				Path     string       `json:"path"`
			}{k.Identity(), path}
			return a.show(v, func(p *cli.Page) { p.Line("%s", v.Identity.String()) })
		},
	}
}

func (a *app) adminAdd() *cobra.Command {
	return &cobra.Command{
		Use: "add NAME KEY", Short: "Let somebody administer the mesh from elsewhere", Args: cli.Args("NAME", "KEY"),
		Long:    "Let somebody administer the mesh from elsewhere. KEY is what warren admin key prints for that person.",
		Example: "  warren admin add anna wid1mR0…",
		RunE: func(cmd *cobra.Command, args []string) error {
			identity, err := key.ParseIdentity(args[1])
			if err != nil {
				return cli.Usage("it is what that person gets from: warren admin key", "KEY: %v", err)
			}
			var added wire.AdminView
			order := wire.AdminView{Name: args[0], Identity: identity}
			if err := a.call(cmd, http.MethodPost, wire.PathAdmins, order, &added); err != nil {
				return err
			}
			return a.show(added, func(p *cli.Page) { p.Line("%s may administer the mesh from elsewhere.", added.Name) })
		},
	}
}

func (a *app) adminLs() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List who may administer the mesh from elsewhere", Args: cli.Args(),
		Example: "  warren admin ls",
		RunE: func(cmd *cobra.Command, _ []string) error {
			admins := []wire.AdminView{}
			if err := a.call(cmd, http.MethodGet, wire.PathAdmins, nil, &admins); err != nil {
				return err
			}
			return a.show(listed(admins), func(p *cli.Page) {
				if len(admins) == 0 {
					a.notes().Line("Nobody may administer the mesh from elsewhere. To let somebody: warren admin add NAME KEY")
					return
				}
				var rows [][]any
				for _, v := range admins {
					rows = append(rows, []any{v.Name, cli.Ago(p.Now, v.Added), v.Identity})
				}
				p.Grid([]string{"NAME", "ADDED", "IDENTITY"}, rows)
			})
		},
	}
}

func (a *app) adminRm() *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use: "rm NAME", Short: "Lock an admin out", Args: cli.Args("NAME"), ValidArgsFunction: a.completeAdmins,
		Long:    "No longer let somebody administer the mesh from elsewhere. It works at once.",
		Example: "  warren admin rm anna",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.proc.Confirm("Lock out admin "+args[0]+"?", yes); err != nil {
				return err
			}
			if err := a.call(cmd, http.MethodDelete, wire.PathAdmins+"/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			return a.show(removed{args[0]}, func(p *cli.Page) { p.Line("%s is locked out.", args[0]) })
		},
	}
	addYes(cmd, &yes)
	return cmd
}

// removed is what is told of something that is gone.
type removed struct {
	Removed string `json:"removed"`
}

func addYes(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVarP(yes, "yes", "y", false, "do not ask; without a terminal nothing is asked")
}

// listed makes an empty list of none, since null is no list to a script.
func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
