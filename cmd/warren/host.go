package main

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// A hostVerb is a command that does one thing to one host.
type hostVerb struct {
	action   string // the last part of the path, and the name of the command
	short    string
	long     string
	done     string // what is said afterwards, about the host's name
	question string // asked before, where it cannot be undone
	from     func(peers.HostState) bool
}

func hostVerbs() []hostVerb {
	return []hostVerb{
		{
			action: wire.ActionApprove, short: "Let a waiting host in",
			long: "Let a host in that has enrolled with a token made with --approve.",
			done: "%s is in: the others get to know it now.",
			from: func(s peers.HostState) bool { return s == peers.HostPending },
		},
		{
			action: wire.ActionSuspend, short: "Take a host out for a while",
			long: "Take a host out for a while. The others drop its tunnels at once; it stays enrolled.",
			done: "%s is out until: warren host resume %[1]s",
			from: func(s peers.HostState) bool { return s == peers.HostActive },
		},
		{
			action: wire.ActionResume, short: "Let a suspended host back in",
			long: "Let a suspended host back in. It keeps its name and its address.",
			done: "%s is in again.",
			from: func(s peers.HostState) bool { return s == peers.HostSuspended },
		},
		{
			action: wire.ActionRekey, short: "Give a host a new identity",
			long: "Give a host a new identity, without touching a tunnel. The host makes it and its old identity signs it, so the\n" +
				"others know that it is the same host; then the old one is good for nothing any more. A host that is offline does\n" +
				"it when it is back, and while a rotation runs it waits. WireGuard keys stay: warren rotate is for those.\n\n" +
				"Whoever has stolen the old identity could be faster than the host. Then: warren host revoke NAME",
			done: "%s is asked for a new identity. To see when it has one: warren host show %[1]s",
			from: func(s peers.HostState) bool { return s == peers.HostActive },
		},
		{
			action: wire.ActionUndrain, short: "Have a drained gateway serve again",
			long: "Have a drained gateway serve again. If it is the first one of its site, traffic goes back to it after it has been\n" +
				"fit for half a minute, without losing a packet.",
			done: "%s serves again.",
			from: func(s peers.HostState) bool { return s == peers.HostActive },
		},
		{
			action: wire.ActionRevoke, short: "Shut a host out for good",
			long: "Shut a host out for good, as when the machine was stolen. The others drop its tunnels at once, and its\n" +
				"identity never comes back. It stays in the list until: warren host rm NAME",
			done:     "%s is out for good. To take it off the list: warren host rm %[1]s",
			question: "Revoke host %s? Its identity never comes back.",
			from:     func(s peers.HostState) bool { return s != peers.HostRevoked },
		},
	}
}

func (a *app) hostCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "host", Short: "Hosts of the mesh", Example: "  warren host ls"}
	cmd.AddCommand(a.hostLs(), a.hostShow(), a.hostRm(), a.hostLabel(), a.hostDrain())
	for _, v := range hostVerbs() {
		cmd.AddCommand(a.hostVerb(v))
	}
	return cmd
}

func (a *app) hostLs() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List hosts", Args: cli.Args(),
		Example: "  warren host ls\n  warren host ls -o json | jq -r '.[] | select(.online | not) | .name'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var hosts []wire.HostView
			if err := a.call(cmd, http.MethodGet, wire.PathHosts, nil, &hosts); err != nil {
				return err
			}
			for i := range hosts {
				tidyHost(&hosts[i])
			}
			return a.show(listed(hosts), func(p *cli.Page) {
				if len(hosts) == 0 {
					a.notes().Line("No host has joined yet. To let one: warren token create --site SITE")
					return
				}
				viewHosts(p, hosts)
			})
		},
	}
}

func (a *app) hostShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a host, and how it sees the others", Args: cli.Args("NAME"),
		Example: "  warren host show warehouse", ValidArgsFunction: a.completeHosts(anyHost),
		RunE: func(cmd *cobra.Command, args []string) error {
			var h wire.HostView
			if err := a.call(cmd, http.MethodGet, hostPath(args[0]), nil, &h); err != nil {
				return err
			}
			tidyHost(&h)
			names := map[peers.HostID]string{}
			if a.format == cli.Table && len(h.Peers) > 0 {
				var all []wire.HostView
				if err := a.call(cmd, http.MethodGet, wire.PathHosts, nil, &all); err != nil {
					return err
				}
				for _, other := range all {
					names[other.ID] = other.Name
				}
			}
			return a.show(h, func(p *cli.Page) { viewHost(p, &h, names) })
		},
	}
}

func (a *app) hostVerb(v hostVerb) *cobra.Command {
	var action wire.HostAction
	yes := false
	cmd := &cobra.Command{
		Use: v.action + " NAME", Short: v.short, Long: v.long, Args: cli.Args("NAME"),
		Example:           "  warren host " + v.action + ` warehouse --why "as agreed with Anna"`,
		ValidArgsFunction: a.completeHosts(v.from),
		RunE: func(cmd *cobra.Command, args []string) error {
			if v.question != "" {
				if err := a.proc.Confirm(fmt.Sprintf(v.question, args[0]), yes); err != nil {
					return err
				}
			}
			var h wire.HostView
			if err := a.call(cmd, http.MethodPost, hostPath(args[0])+"/"+v.action, action, &h); err != nil {
				return err
			}
			tidyHost(&h)
			return a.show(h, func(p *cli.Page) { p.Line(v.done, h.Name) })
		},
	}
	cmd.Flags().StringVar(&action.Why, "why", "", "the `REASON`, for the audit log")
	if v.question != "" {
		addYes(cmd, &yes)
	}
	return cmd
}

func (a *app) hostRm() *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use: "rm NAME", Short: "Take a host out of the mesh", Args: cli.Args("NAME"),
		Long: "Take a host out of the mesh and off the list. Its name and address become free. The machine can join again\n" +
			"with a new token, unless it was revoked before.",
		Example:           "  warren host rm warehouse",
		ValidArgsFunction: a.completeHosts(anyHost),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.proc.Confirm("Take host "+args[0]+" out of the mesh?", yes); err != nil {
				return err
			}
			if err := a.call(cmd, http.MethodDelete, hostPath(args[0]), nil, nil); err != nil {
				return err
			}
			return a.show(removed{args[0]}, func(p *cli.Page) { p.Line("%s is out of the mesh.", args[0]) })
		},
	}
	addYes(cmd, &yes)
	return cmd
}

func hostPath(name string) string { return wire.PathHosts + "/" + url.PathEscape(name) }

// tidyHost makes empty lists of missing ones.
func tidyHost(h *wire.HostView) {
	h.Problems = listed(h.Problems)
	h.Endpoints = listed(h.Endpoints)
	h.Keys = listed(h.Keys)
	if h.Labels == nil {
		h.Labels = map[string]string{}
	}
}

func anyHost(peers.HostState) bool { return true }
