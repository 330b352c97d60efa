package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

func (a *app) meshCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "mesh", Short: "The mesh and its settings", Example: "  warren mesh show"}
	cmd.AddCommand(a.meshShow(), a.meshSet(), a.meshRekey())
	return cmd
}

func (a *app) meshShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the mesh, its settings and the controller's pin", Args: cli.Args(),
		Example: "  warren mesh show\n  export WARREN_PIN=$(ssh controller warren mesh show -o json | jq -r .pin)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var m wire.MeshView
			if err := a.call(cmd, http.MethodGet, wire.PathMesh, nil, &m); err != nil {
				return err
			}
			return a.showMesh(m)
		},
	}
}

func (a *app) meshSet() *cobra.Command {
	within, why := "", ""
	cmd := &cobra.Command{
		Use: "set KEY=VALUE...", Short: "Change settings of the mesh",
		Long: "Change settings of the mesh. They reach every host at once and break no tunnel.\n\n" +
			"  mtu=BYTES          of the tunnel interfaces, 1280 to 9000\n" +
			"  keepalive=SECONDS  between packets that keep NAT tables filled, 5 to 120\n" +
			"  grace=TIME         that a rotation waits for hosts that are away, 10s to 90d",
		Example: "  warren mesh set mtu=1380 keepalive=20\n  warren mesh set mtu=1280 --confirm-within 2m && warren apply --confirm",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Args("KEY=VALUE")(cmd, args)
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"mtu=\tbytes, of the tunnel interfaces", "keepalive=\tseconds", "grace=\ttime, like 7d"},
				cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, err := parseSettings(args)
			if err == nil {
				settings.Why = why
				settings.Within, err = parseWithin(within)
			}
			if err != nil {
				return err
			}
			var m wire.MeshView
			if err := a.call(cmd, http.MethodPatch, wire.PathMesh, settings, &m); err != nil {
				return err
			}
			return a.showMesh(m)
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "the `REASON`, for the audit log")
	addWithin(cmd, &within)
	return cmd
}

func (a *app) meshRekey() *cobra.Command {
	overlap, yes, why := "7d", false, ""
	cmd := &cobra.Command{
		Use: "rekey", Short: "Give the controller a new identity", Args: cli.Args(),
		Long: `Give the controller a new identity, without touching a tunnel.

Hosts pin the controller's identity. The present one signs the next one, and every host is told and keeps both.
When all of them know it, or the overlap is over, the old one is destroyed. Until then enrolment tokens still
name the old one, so with its end all tokens that could be used are revoked: make new ones then. Whoever
administers the mesh from elsewhere needs the new pin, see: warren mesh show.

A host that was away for the whole overlap keeps its tunnels, says controller-mismatch in its status, and goes
on under its name with a new token: warren enroll TOKEN. When the old identity is in other hands, choose a
short overlap: the hosts that are connected learn the new one within seconds.`,
		Example: "  warren mesh rekey\n  warren mesh rekey --overlap 1m --why 'a backup of the controller was lost'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := peers.ParseSpan(overlap)
			if err != nil {
				return cli.Usage("for instance: --overlap 7d", "--overlap %.40q: %v", overlap, err)
			}
			if err := a.proc.Confirm("Give the controller a new identity? Enrolment tokens become useless.", yes); err != nil {
				return err
			}
			var m wire.MeshView
			order := wire.MeshRekey{Overlap: max(1, int(d/time.Second)), Why: why}
			if err := a.call(cmd, http.MethodPost, wire.PathMeshRekey, order, &m); err != nil {
				return err
			}
			return a.showMesh(m)
		},
	}
	cmd.Flags().StringVar(&overlap, "overlap", overlap, "how `LONG` hosts may take to learn it")
	cmd.Flags().StringVar(&why, "why", "", "the `REASON`, for the audit log")
	addYes(cmd, &yes)
	return cmd
}

// parseSettings reads KEY=VALUE. Whether a value makes sense is the controller's business.
func parseSettings(args []string) (wire.MeshSettings, error) {
	var s wire.MeshSettings
	slots := map[string]**int{"mtu": &s.MTU, "keepalive": &s.Keepalive, "grace": &s.Grace}
	const hint = "warren mesh set --help"
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return s, cli.Usage(hint, "%.80q is not KEY=VALUE", arg)
		}
		slot := slots[name]
		if slot == nil {
			return s, cli.Usage(hint, "there is no setting %.40q: want mtu, keepalive or grace", name)
		}
		if *slot != nil {
			return s, cli.Usage(hint, "%s is set twice", name)
		}
		n, err := parseSetting(name, value)
		if err != nil {
			return s, err
		}
		*slot = &n
	}
	return s, nil
}

func parseSetting(name, value string) (int, error) {
	const hint = "warren mesh set --help"
	if name == "grace" {
		d, err := cli.ParseSpan(value)
		if err != nil {
			return 0, cli.Usage(hint, "%s=%.40q: want a time like 36h or 7d", name, value)
		}
		return int(d / time.Second), nil
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, cli.Usage(hint, "%s=%.40q: want a whole number", name, value)
	}
	return n, nil
}

func (a *app) showMesh(m wire.MeshView) error {
	m.Controllers, m.Generations = listed(m.Controllers), listed(m.Generations)
	return a.show(m, func(p *cli.Page) { viewMesh(p, &m) })
}

// nextPin is the identity that the controller will have, and who does not know it yet.
func nextPin(p *cli.Page, next *wire.NextPin) string {
	if next == nil {
		return ""
	}
	s := fmt.Sprintf("%s, known to %d hosts, used %s at the latest", next.Identity, next.Known, cli.Until(p.Now, next.Until))
	if len(next.Waiting) > 0 {
		s += "; waiting for " + shortened(next.Waiting)
	}
	return s
}

func viewMesh(p *cli.Page, m *wire.MeshView) {
	var generations []string
	for _, g := range m.Generations {
		generations = append(generations, fmt.Sprintf("%d (since %s)", g.Number, cli.Span(p.Now.Sub(g.Started))))
	}
	grace := ""
	if m.Grace != 0 {
		grace = cli.Span(time.Duration(m.Grace) * time.Second)
	}
	p.Fields(
		cli.Field{Name: "mesh", Value: cli.Cell{Text: m.Name, Tone: cli.Bold}},
		cli.F("hosts", "%d, %d online", m.Hosts, m.Online),
		cli.F("overlay", "%v, %v", m.Overlay, m.Overlay6),
		cli.F("mtu", "%d bytes", m.MTU),
		cli.F("keepalive", "%d s", m.Keepalive),
		cli.F("grace", "%s", grace),
		cli.F("generations", "%s", strings.Join(generations, ", ")),
		cli.F("revision", "%d", m.Revision),
		cli.F("created", "%s", m.Created.UTC().Format(time.RFC3339)),
		cli.F("controller", "%s", strings.Join(m.Controllers, ", ")),
		cli.F("pin", "%s", m.Pin),
		cli.F("next pin", "%s", nextPin(p, m.NextPin)),
		cli.F("version", "%s", m.Version),
	)
	viewPending(p, m.Pending)
}
