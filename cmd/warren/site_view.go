package main

import (
	"slices"
	"strings"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/wire"
)

func viewSites(p *cli.Page, sites []wire.SiteView) {
	heading := []string{"SITE", "NETWORKS", "GATEWAYS", "HOSTS"}
	checked := slices.ContainsFunc(sites, func(s wire.SiteView) bool { return len(s.LANCheck) > 0 })
	if checked {
		heading = append(heading, "LAN CHECK")
	}
	var rows [][]any
	for i := range sites {
		s := &sites[i]
		var networks []string
		for _, n := range s.Prefixes {
			networks = append(networks, networkText(&n))
		}
		row := []any{
			cli.Cell{Text: s.Name, Tone: cli.Bold}, strings.Join(networks, ", "), strings.Join(s.Gateways, ", "), names(s.Hosts),
		}
		if checked {
			row = append(row, addresses(s.LANCheck...))
		}
		rows = append(rows, row)
	}
	p.Grid(heading, rows)
}

func viewSite(p *cli.Page, s *wire.SiteView) {
	p.Fields(
		cli.Field{Name: "site", Value: cli.Cell{Text: s.Name, Tone: cli.Bold}},
		cli.F("gateways", "%s", strings.Join(s.Gateways, ", ")),
		cli.F("hosts", "%s", strings.Join(s.Hosts, ", ")),
	)
	if virtual := addresses(s.Virtual, s.Virtual6); virtual != "" {
		p.Fields(cli.F("virtual address", "%s, of the gateway that acts", virtual))
	}
	if len(s.LANCheck) > 0 {
		p.Fields(cli.F("LAN check", "gateways ask %s whether the LAN is there", addresses(s.LANCheck...)))
	}
	if len(s.Prefixes) == 0 {
		return
	}
	p.Title("Networks", "")
	var rows [][]any
	for _, n := range s.Prefixes {
		known, snat := n.Prefix, ""
		if n.As.IsValid() {
			known = n.As
		}
		if n.SNAT {
			snat = "the gateway's"
		} else {
			snat = "their own"
		}
		rows = append(rows, []any{n.Prefix, known, snat})
	}
	p.Grid([]string{"IN THE SITE", "IN THE MESH", "MESH ADDRESSES IN THE SITE"}, rows)
}

func networkText(n *wire.SiteNetwork) string {
	s := n.Prefix.String()
	if n.As.IsValid() {
		s += " as " + n.As.String()
	}
	if n.SNAT {
		s += " snat"
	}
	return s
}

func viewSiteResult(p *cli.Page, r *wire.SiteResult) {
	viewSite(p, &r.Site)
	p.Line("")
	viewFlowChanges(p, r.Flows, r.Hosts, r.CutOff)
	viewWarnings(p, r.Warnings, nil)
	p.Line("")
	if r.Applied {
		p.Line("Done, as of revision %d. LAN hosts need a way back: a route to the mesh by a gateway, or --snat.", r.Revision)
		viewToConfirm(p, r.Pending)
		return
	}
	p.Line("Nothing was changed.")
}
