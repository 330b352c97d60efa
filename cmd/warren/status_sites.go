package main

import (
	"strings"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/wire"
)

// viewGateways tells by which gateways sites are reached, and why not by the others.
func viewGateways(p *cli.Page, s *wire.Status) {
	if len(s.Sites) == 0 {
		return
	}
	p.Title("Sites", "with several gateways, or whose gateway this host is")
	var rows [][]any
	for i := range s.Sites {
		site := &s.Sites[i]
		acting := cli.Cell{Text: site.Acting, Tone: cli.Bold}
		if site.Acting == "" {
			acting = cli.Cell{Text: "nobody yet", Tone: cli.Warn}
		}
		var others []string
		for _, g := range site.Gateways {
			switch {
			case g.Host == site.Acting && g.Why == "":
			case g.Why == "":
				others = append(others, g.Host+" is ready")
			default:
				others = append(others, g.Host+" "+g.Why)
			}
		}
		virtual := addresses(site.Virtual, site.Virtual6)
		switch {
		case virtual == "":
		case site.Holds:
			virtual += " is here"
		default:
			virtual += " is elsewhere"
		}
		rows = append(rows, []any{site.Site, acting, cli.AgoOf(p.Now, site.Since), strings.Join(others, "; "), virtual})
	}
	p.Grid([]string{"SITE", "GATEWAY", "SINCE", "THE OTHERS", "VIRTUAL ADDRESS"}, rows)
	viewLANChecks(p, s.Sites)
}

// viewLANChecks tells what this host hears of the hosts of its LAN that it asks.
func viewLANChecks(p *cli.Page, sites []wire.SiteStatus) {
	var rows [][]any
	for i := range sites {
		for _, c := range sites[i].LANCheck {
			tone := map[string]cli.Tone{wire.LANAnswers: cli.Good, wire.LANSilent: cli.Bad, wire.LANUnknown: cli.Warn}[c.State]
			since := ""
			if c.Since != nil {
				since = cli.Ago(p.Now, *c.Since)
			}
			rows = append(rows, []any{c.Address.String(), cli.Cell{Text: c.State, Tone: tone}, since, c.Why})
		}
	}
	if len(rows) > 0 {
		p.Title("LAN check", "hosts of the LAN that this gateway asks")
		p.Grid([]string{"ADDRESS", "STATE", "SINCE", "WHY"}, rows)
	}
}
