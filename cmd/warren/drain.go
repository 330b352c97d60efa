package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/warren/client"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// A drained is what came of draining a host.
type drained struct {
	Host    string  `json:"host"`
	Site    string  `json:"site"`
	Drained bool    `json:"drained"` // nobody uses it any more
	Took    float64 `json:"took"`    // seconds that were waited
	Other   string  `json:"other"`   // the gateway that acts now
}

func (a *app) hostDrain() *cobra.Command {
	var action wire.HostAction
	wait := false
	timeout := time.Minute
	cmd := &cobra.Command{
		Use: "drain NAME", Short: "Have a gateway left by everybody, before work on it", Args: cli.Args("NAME"),
		Long: "Have a gateway left by everybody, before work on it. First it sends what comes from its LAN to the gateway that\n" +
			"takes over as well, then the hosts of other sites change, then the virtual address of its site. No packet is\n" +
			"lost. It stays in the mesh, and serves where no other gateway of its site is fit, until: warren host undrain NAME",
		Example:           "  warren host drain wh-gw1 --wait && ssh wh-gw1 reboot\n  warren host undrain wh-gw1",
		ValidArgsFunction: a.completeHosts(func(s peers.HostState) bool { return s == peers.HostActive }),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.admin(cmd)
			if err != nil {
				return err
			}
			var h wire.HostView
			if err := c.Call(cmd.Context(), http.MethodPost, hostPath(args[0])+"/"+wire.ActionDrain, action, &h); err != nil {
				return err
			}
			if !wait {
				tidyHost(&h)
				return a.show(h, func(p *cli.Page) {
					p.Line("%s is being drained. To see who uses it still: warren host show %[1]s", h.Name)
				})
			}
			return a.awaitDrain(cmd.Context(), c, h, timeout)
		},
	}
	cmd.Flags().StringVar(&action.Why, "why", "", "the `REASON`, for the audit log")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until nobody uses it any more")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait at most")
	return cmd
}

// awaitDrain waits until a host says that nobody uses it any more.
func (a *app) awaitDrain(ctx context.Context, c *client.Client, h wire.HostView, timeout time.Duration) error {
	began := time.Now()
	hint := "warren host show " + h.Name + "; to take it back: warren host undrain " + h.Name
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(waitEvery)
	defer tick.Stop()
	last := ""
	for {
		if line := drainLine(&h); line != last {
			a.notes().Line("%s", line)
			last = line
		}
		if g := h.Gateway; g != nil && g.Draining && !g.Acting && len(g.Users) == 0 {
			d := drained{Host: h.Name, Site: h.Site, Drained: true, Took: time.Since(began).Seconds(), Other: a.nameOf(ctx, c, g.Other)}
			return a.show(d, func(p *cli.Page) {
				p.Line("Nobody uses %s any more, after %.1f s: %s has taken over site %s.", d.Host, d.Took, d.Other, d.Site)
			})
		}
		select {
		case <-ctx.Done():
			return cli.Fail("drain-unfinished", hint, "%s", "stopped waiting: "+last)
		case <-tick.C:
		}
		var next wire.HostView
		switch err := c.Call(ctx, http.MethodGet, hostPath(h.Name), nil, &next); {
		case err == nil:
			h = next
		case ctx.Err() == nil && !isDown(err):
			return err
		}
	}
}

// drainLine says how far a drain is.
func drainLine(h *wire.HostView) string {
	g := h.Gateway
	switch {
	case !h.Online:
		return fmt.Sprintf("%s is offline: it hears of it when it is back", h.Name)
	case g == nil || !g.Draining:
		return fmt.Sprintf("%s has been told", h.Name)
	case len(g.Users) > 0:
		return fmt.Sprintf("%d hosts use %s still", len(g.Users), h.Name)
	case g.Acting:
		return fmt.Sprintf("all hosts have left %s; now the LAN of site %s", h.Name, h.Site)
	}
	return "nobody uses " + h.Name + " any more"
}

// nameOf is the name of a host; its id where that cannot be asked.
func (a *app) nameOf(ctx context.Context, c *client.Client, id peers.HostID) string {
	var h wire.HostView
	if id == "" || c.Call(ctx, http.MethodGet, hostPath(string(id)), nil, &h) != nil {
		return strings.TrimSpace(string(id))
	}
	return h.Name
}
