package main

import (
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// A completer finds what can stand where the cursor is, with a word about each behind a tab.
type completer = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// first completes the first argument alone. Who cannot be asked in time completes nothing: an error
// would tear the line that the user is typing.
func first(find func(*cobra.Command) ([]string, error)) completer {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		words, err := find(cmd)
		if err != nil {
			cobra.CompDebugln(err.Error(), false)
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for i, w := range words {
			word, about, _ := strings.Cut(w, "\t")
			words[i] = cobra.CompletionWithDesc(cli.Clean(word), cli.Clean(about))
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
}

// complete completes the value of a flag, whatever the arguments are.
func complete(cmd *cobra.Command, flag string, c completer) {
	err := cmd.RegisterFlagCompletionFunc(flag,
		func(cmd *cobra.Command, _ []string, s string) ([]string, cobra.ShellCompDirective) {
			return c(cmd, nil, s)
		})
	if err != nil {
		panic(err) // only for a flag that this program does not have
	}
}

func (a *app) completeFlags(root *cobra.Command) {
	complete(root, cli.OutputFlag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return cli.Formats(), cobra.ShellCompDirectiveNoFileComp
	})
}

// ask does one request to the controller, and gives up soon.
func (a *app) ask(cmd *cobra.Command, path string, out any) error {
	c, err := a.admin(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := soon(cmd.Context())
	defer cancel()
	return c.Call(ctx, http.MethodGet, path, nil, out)
}

// completeHosts completes the names of hosts in some states.
func (a *app) completeHosts(from func(peers.HostState) bool) completer {
	return first(func(cmd *cobra.Command) (words []string, err error) {
		var hosts []wire.HostView
		err = a.ask(cmd, wire.PathHosts, &hosts)
		for i := range hosts {
			if h := &hosts[i]; from(h.State) {
				words = append(words, h.Name+"\t"+string(h.State)+", site "+h.Site)
			}
		}
		return words, err
	})
}

// completePeers completes the names of hosts that this host has a tunnel to.
func (a *app) completePeers(cmd *cobra.Command, args []string, s string) ([]string, cobra.ShellCompDirective) {
	return first(func(cmd *cobra.Command) (words []string, err error) {
		ctx, cancel := soon(cmd.Context())
		defer cancel()
		var status wire.Status
		err = a.agent(cmd).Call(ctx, http.MethodGet, wire.PathStatus, nil, &status)
		for _, p := range status.Peers {
			words = append(words, p.Host+"\t"+p.State+", site "+p.Site)
		}
		return words, err
	})(cmd, args, s)
}

func (a *app) completeTokens(cmd *cobra.Command, args []string, s string) ([]string, cobra.ShellCompDirective) {
	return first(func(cmd *cobra.Command) (words []string, err error) {
		var tokens []wire.TokenView
		err = a.ask(cmd, wire.PathTokens, &tokens)
		for _, t := range tokens {
			if t.State == "valid" {
				words = append(words, t.ID+"\tsite "+t.Site+", expires "+cli.Until(a.now(), t.Expires))
			}
		}
		return words, err
	})(cmd, args, s)
}

func (a *app) completeAdmins(cmd *cobra.Command, args []string, s string) ([]string, cobra.ShellCompDirective) {
	return first(func(cmd *cobra.Command) (words []string, err error) {
		var admins []wire.AdminView
		err = a.ask(cmd, wire.PathAdmins, &admins)
		for _, v := range admins {
			words = append(words, v.Name)
		}
		return words, err
	})(cmd, args, s)
}

// completeSites completes the sites that there are.
func (a *app) completeSites(cmd *cobra.Command, args []string, s string) ([]string, cobra.ShellCompDirective) {
	return first(func(cmd *cobra.Command) (words []string, err error) {
		var sites []wire.SiteView
		err = a.ask(cmd, wire.PathSites, &sites)
		for i := range sites {
			words = append(words, sites[i].Name)
		}
		return words, err
	})(cmd, args, s)
}
