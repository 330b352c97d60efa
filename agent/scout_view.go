package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// status is how things stand with the gateways that are watched. The own site of the host is given for its virtual
// address, nil for none.
func (s *scout) status(own *peers.PlanSite) []wire.SiteStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []wire.SiteStatus
	for i := range s.brief.sites {
		site := &s.brief.sites[i]
		c := s.choices[site.Name]
		row := wire.SiteStatus{Site: site.Name, Acting: s.brief.names[c.Gateway], Moves: s.moves[site.Name], Since: since(c.At)}
		if own != nil && own.Name == site.Name && site.Name == s.brief.home {
			row.Virtual, row.Virtual6, row.Holds = own.Virtual, own.Virtual6, s.brief.holds
			row.LANCheck = s.lanStatus(time.Now())
		}
		for _, id := range site.Gateways {
			g := wire.GatewayStatus{Host: s.brief.names[id], ID: id, LAN: peers.LegUnknown.String()}
			if p := s.posts[id]; p != nil {
				g.Fit, g.Why, g.LAN, g.Draining = p.seen.Fit, p.seen.Why(), p.seen.Word.LAN.String(), p.seen.Word.Draining
				if p.seen.Word.Silent {
					g.LAN = wire.LANSilent
				}
				if id != s.brief.self {
					g.Heard = since(p.seen.Heard)
				}
			}
			row.Gateways = append(row.Gateways, g)
		}
		out = append(out, row)
	}
	return out
}

// problems are the sites of which no gateway is fit, and a leg that is down.
func (s *scout) problems() (out []peers.Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.brief.sites {
		site := &s.brief.sites[i]
		var why []string
		for _, id := range site.Gateways {
			p := s.posts[id]
			if p == nil || p.seen.Fit || p.seen.Why() == "" || p.seen.Heard.IsZero() && p.seen.Missed < peers.MissedMost {
				break
			}
			why = append(why, s.brief.names[id]+" "+p.seen.Why())
		}
		if len(why) == len(site.Gateways) && site.Name != s.brief.home {
			out = append(out, peers.Problem{
				Code: codeNoGateway, At: "site/" + site.Name,
				Message: fmt.Sprintf("no gateway of site %s is fit: %s", site.Name, strings.Join(why, "; ")),
				Hint:    "look at the gateways: warren status, on each of them",
			})
		}
		if site.Name == s.brief.home && s.brief.leg == peers.LegDown {
			out = append(out, peers.Problem{
				Code: codeLegDown, At: "site/" + site.Name,
				Message: "this gateway has no way to a network of its site: there is no address in it, no route to it, or no carrier",
				Hint:    "look at the link to the LAN: ip -br link, ip -br address",
			})
		}
	}
	return append(out, s.lanProblems(time.Now())...)
}

// report is what the controller hears of this host as a gateway; nil where it is none.
func (s *scout) report() *wire.GatewayReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.brief.home == "" {
		return nil
	}
	now := time.Now()
	c := s.choices[s.brief.home]
	r := &wire.GatewayReport{Draining: s.brief.draining, Acting: s.word.Home, Users: []peers.HostID{}}
	if c.Gateway != s.brief.self {
		r.Other = c.Gateway
	}
	for from, a := range s.asked {
		if now.Sub(a.at) < usedFor && a.using == s.brief.self {
			r.Users = append(r.Users, s.brief.elsewhere[from])
		}
	}
	slices.Sort(r.Users)
	return r
}
