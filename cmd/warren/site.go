package main

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/wire"
)

const siteHelp = `
A site is a place. Networks behind its gateways are reached by all hosts of the mesh that the policy lets: --prefix
names them and --gateway the hosts that forward, in order of priority. LAN hosts keep their own addresses, so their
routers must send what is for the mesh to a gateway; where they cannot, --snat behind a --prefix makes packets of the
mesh come from the gateway.

Two sites that have the same network need an alias each, by which the mesh knows it: --as behind a --prefix, a free
network of the same size. 192.168.1.7 is reached as 10.61.1.7 then, by the other site as well.

Where a site has several gateways, hosts elsewhere find out by themselves which one works. Its LAN has to be told:
give it a --virtual-ip, one of each family, and make that the LAN's route to the mesh, or let the LAN's own means (VRRP) do it.

A gateway notices by itself that its link to the LAN is down. That the LAN is cut off behind the next switch it
notices where --lan-check names hosts of the LAN that are always on, such as a switch or a server: each gateway asks
them four times a second, by ARP or neighbour discovery, which hosts answer whatever their firewalls say. One that
has heard of none of them for about two seconds is left, if another one hears of some. They are asked as the LAN
knows them, not by an alias; for one behind a router of the LAN, it is the router that is asked.`

func (a *app) siteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "site", Short: "Sites, their networks and gateways", Long: "Sites, their networks and gateways.\n" + siteHelp,
		Example: "  warren site ls\n  warren site add warehouse --prefix 10.20.0.0/24 --gateway wh-gw1 --gateway wh-gw2",
	}
	cmd.AddCommand(a.siteLs(), a.siteShow(), a.siteAdd(), a.siteSet(), a.siteRm())
	return cmd
}

func (a *app) siteLs() *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List sites", Args: cli.Args(),
		Example: "  warren site ls\n  warren site ls -o json | jq -r '.[].prefixes[].prefix'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			sites, err := a.sites(cmd)
			if err != nil {
				return err
			}
			return a.show(sites, func(p *cli.Page) {
				if len(sites) == 0 {
					a.notes().Line("There is no site yet. One comes with a token: warren token create --site SITE")
					return
				}
				viewSites(p, sites)
			})
		},
	}
}

func (a *app) siteShow() *cobra.Command {
	return &cobra.Command{
		Use: "show SITE", Short: "Show a site", Args: cli.Args("SITE"),
		Example: "  warren site show warehouse", ValidArgsFunction: a.completeSites,
		RunE: func(cmd *cobra.Command, args []string) error {
			sites, err := a.sites(cmd)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(sites, func(s wire.SiteView) bool { return s.Name == args[0] })
			if i < 0 {
				return cli.Fail("site-unknown", "warren site ls", "there is no site %.80q", args[0])
			}
			return a.show(sites[i], func(p *cli.Page) { viewSite(p, &sites[i]) })
		},
	}
}

// sites asks for all sites.
func (a *app) sites(cmd *cobra.Command) ([]wire.SiteView, error) {
	var sites []wire.SiteView
	if err := a.call(cmd, http.MethodGet, wire.PathSites, nil, &sites); err != nil {
		return nil, err
	}
	for i := range sites {
		tidySite(&sites[i])
	}
	return listed(sites), nil
}

func (a *app) siteAdd() *cobra.Command {
	var order wire.SiteOrder
	within := ""
	cmd := &cobra.Command{
		Use: "add SITE --prefix PREFIX... --gateway HOST...", Short: "Give a site networks and gateways", Args: cli.Args("SITE"),
		Long: "Give a site networks and gateways. That the site is there already, made with a token, is fine.\n" + siteHelp,
		Example: "  warren site add warehouse --prefix 10.20.0.0/24 --gateway wh-gw1 --gateway wh-gw2\n" +
			"  warren site add shop --prefix 192.168.1.0/24 --as 10.61.1.0/24 --gateway shop --dry-run",
		ValidArgsFunction: a.completeSites,
		RunE: func(cmd *cobra.Command, args []string) error {
			order.Name = args[0]
			var err error
			if order.Within, err = parseWithin(within); err != nil {
				return err
			}
			return a.orderSite(cmd, http.MethodPost, wire.PathSites, order)
		},
	}
	a.siteFlags(cmd, &order)
	addWithin(cmd, &within)
	return cmd
}

func (a *app) siteSet() *cobra.Command {
	var order wire.SiteOrder
	none, within := false, ""
	cmd := &cobra.Command{
		Use: "set SITE", Short: "Change the networks and gateways of a site", Args: cli.Args("SITE"),
		Long: "Change the networks and gateways of a site; what is not named stays. --prefix adds a network, or says anew how one\n" +
			"is reached that is there; --gateway names all gateways, in order of priority, and --lan-check all addresses.\n" + siteHelp,
		Example: "  warren site set warehouse --prefix 10.21.0.0/24 --snat\n" +
			"  warren site set warehouse --gateway wh-gw2 --gateway wh-gw1   # the other order\n" +
			"  warren site set warehouse --lan-check 10.20.0.9 --lan-check 10.20.0.10",
		ValidArgsFunction: a.completeSites,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := completeSet(&order, none)
			if err == nil {
				order.Within, err = parseWithin(within)
			}
			if err != nil {
				return err
			}
			return a.orderSite(cmd, http.MethodPatch, sitePath(args[0]), order)
		},
	}
	a.siteFlags(cmd, &order)
	addWithin(cmd, &within)
	cmd.Flags().Var((*prefixList)(&order.Remove), "remove-prefix", "take a network away, by its `PREFIX` or its alias; repeatable")
	cmd.Flags().BoolVar(&order.NoVirt, "no-virtual-ip", false, "the site has no virtual addresses any more")
	cmd.Flags().BoolVar(&none, "no-gateways", false, "no host forwards for the site any more")
	return cmd
}

// completeSet checks what is to be set of a site; none says that it is to have no gateways.
func completeSet(order *wire.SiteOrder, none bool) error {
	const hint = "warren site set --help"
	virtual := order.Virtual.IsValid() || order.Virtual6.IsValid()
	switch {
	case none && order.Gateways != nil:
		return cli.Usage(hint, "--gateway and --no-gateways exclude each other")
	case order.NoVirt && virtual:
		return cli.Usage(hint, "--virtual-ip and --no-virtual-ip exclude each other")
	case none:
		order.Gateways = []string{}
	case order.Prefixes == nil && order.Remove == nil && order.Gateways == nil && order.LANCheck == nil && !virtual && !order.NoVirt:
		return cli.Usage(hint, "nothing to change")
	}
	return nil
}

// orderSite has a site made or changed, and tells what comes of it.
func (a *app) orderSite(cmd *cobra.Command, method, path string, order wire.SiteOrder) error {
	var r wire.SiteResult
	if err := a.call(cmd, method, path, order, &r); err != nil {
		return err
	}
	tidySite(&r.Site)
	r.Flows, r.Hosts, r.CutOff, r.Warnings = listed(r.Flows), listed(r.Hosts), listed(r.CutOff), listed(r.Warnings)
	return a.show(r, func(p *cli.Page) { viewSiteResult(p, &r) })
}

func (a *app) siteFlags(cmd *cobra.Command, order *wire.SiteOrder) {
	f := cmd.Flags()
	f.Var(&networkFlag{order}, "prefix", "a `PREFIX` behind the gateways; repeatable")
	f.Var(&aliasFlag{order}, "as", "the alias by which the mesh knows the --prefix before it, a `PREFIX` of the same size")
	f.Var(&snatFlag{order}, "snat", "to the --prefix before it, packets of the mesh come from the gateway")
	f.Lookup("snat").NoOptDefVal = "true"
	f.StringArrayVar(&order.Gateways, "gateway", nil, "a `HOST` that forwards, the first one first; repeatable")
	f.Var(&virtualFlag{order}, "virtual-ip",
		"an `ADDRESS` of the LAN, of whichever gateway acts: send there what is for the mesh; one of IPv4, one of IPv6")
	f.Var(&checkFlag{order: order}, "lan-check",
		"an `ADDRESS` of the LAN that gateways ask whether it is there; all of them, up to 4; none for no check")
	f.BoolVar(&order.DryRun, "dry-run", false, "only tell what would come of it")
	f.StringVar(&order.Why, "why", "", "the `REASON`, for the audit log")
	complete(cmd, "gateway", a.completeHosts(anyHost))
	complete(cmd, "lan-check", cobra.FixedCompletions([]string{"none\tno check"}, cobra.ShellCompDirectiveNoFileComp))
}

func sitePath(name string) string { return wire.PathSites + "/" + url.PathEscape(name) }

// tidySite makes empty lists of missing ones.
func tidySite(s *wire.SiteView) {
	s.Prefixes, s.Gateways, s.Hosts, s.LANCheck = listed(s.Prefixes), listed(s.Gateways), listed(s.Hosts), listed(s.LANCheck)
}

// prefixList is a flag that may be there several times.
type prefixList []netip.Prefix

func (l *prefixList) Type() string   { return "prefix" }
func (l *prefixList) String() string { return "" }

func (l *prefixList) Set(text string) error {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return errNoPrefix
	}
	*l = append(*l, p)
	return nil
}
