package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/wire"
)

func viewStatus(p *cli.Page, s *wire.Status) {
	if s.State == wire.StateUnenrolled {
		p.Line("This host is in no mesh yet.")
		p.Line("To join one, with a token from the admin: warren enroll TOKEN")
	} else {
		p.Fields(statusFields(p, s)...)
		viewPeers(p, s)
		viewGateways(p, s)
	}
	viewRestored(p, s)
	if len(s.Problems) > 0 {
		p.Title("Problems", "")
		p.Problems(s.Problems)
	}
	if len(s.Notes) > 0 {
		p.Title("Notes", "")
		for _, n := range s.Notes {
			p.Line("%s", n.Message)
		}
	}
}

// viewRestored tells what others change of what is Warren's.
func viewRestored(p *cli.Page, s *wire.Status) {
	if len(s.Restored) == 0 {
		return
	}
	p.Title("Restored", "others had changed it")
	var rows [][]any
	for _, r := range s.Restored {
		rows = append(rows, []any{r.Kind, strconv.Itoa(r.Count), cli.AgoOf(p.Now, &r.Last), r.What})
	}
	p.Grid([]string{"KIND", "TIMES", "LAST", "BY"}, rows)
}

func statusFields(p *cli.Page, s *wire.Status) []cli.Field {
	fields := []cli.Field{
		{Name: "host", Value: cli.Cell{Text: s.Host, Tone: cli.Bold}},
		{Name: "state", Value: state(s.State)},
		cli.F("site", "%s", s.Site),
		cli.F("mesh", "%s", s.Mesh),
		cli.F("addresses", "%s", addresses(s.Address, s.Address6)),
		{Name: "controller", Value: controller(p, &s.Controller)},
		cli.F("plan", "%s", planOf(s)),
	}
	name := "interfaces"
	for _, in := range s.Interfaces {
		fields = append(fields, cli.F(name, "%s: generation %d, UDP port %d, MTU %d, %s WireGuard",
			in.Name, in.Generation, in.Port, in.MTU, s.Backend))
		name = ""
	}
	if s.Guard != nil {
		fields = append(fields, cli.Field{Name: "guard", Value: guardCell(s.Guard)})
	}
	return fields
}

// planOf is the plan that is applied. A host that waits for an admin's approval has none.
func planOf(s *wire.Status) string {
	if s.Revision == 0 {
		return "none applied yet"
	}
	out := fmt.Sprintf("revision %d, generation %d", s.Revision, s.Generation)
	if s.KeyAge > 0 {
		out += fmt.Sprintf(", keys %s old", cli.Span(time.Duration(s.KeyAge*float64(time.Second))))
	}
	return out
}

func controller(p *cli.Page, c *wire.ControllerStatus) cli.Cell {
	if c.Connected {
		return cli.Cell{Text: c.Address + ", connected", Tone: cli.Plain}
	}
	text := c.Address + ", not connected, last contact " + cli.AgoOf(p.Now, c.LastContact)
	if c.Error != "" {
		text += ": " + c.Error
	}
	return cli.Cell{Text: text, Tone: cli.Warn}
}

func viewPeers(p *cli.Page, s *wire.Status) {
	if len(s.Peers) == 0 {
		p.Title("Peers", "none yet")
		return
	}
	p.Title("Peers", fmt.Sprintf("%d of %d up", countUp(s), len(s.Peers)))
	heading := []string{"HOST", "SITE", "ADDRESS", "STATE", "HANDSHAKE", "RECEIVED", "SENT", "TUNNEL", "ENDPOINT"}
	behind := slices.ContainsFunc(s.Peers, func(peer wire.PeerStatus) bool { return networks(&peer) != "" })
	if behind {
		heading = append(heading, "NETWORKS")
	}
	var rows [][]any
	for _, peer := range s.Peers {
		row := []any{
			cli.Cell{Text: peer.Host, Tone: cli.Bold},
			peer.Site, shown(peer.Address), peerState(peer.State),
			cli.AgoOf(p.Now, peer.LastHandshake), cli.Size(peer.RxBytes), cli.Size(peer.TxBytes), peer.Interface, peer.Endpoint,
		}
		if behind {
			row = append(row, networks(&peer))
		}
		rows = append(rows, row)
	}
	p.Grid(heading, rows)
}

func countUp(s *wire.Status) (up int) {
	for _, peer := range s.Peers {
		if peer.State == wire.PeerUp {
			up++
		}
	}
	return up
}

// networks are those behind a peer, without its own addresses.
func networks(peer *wire.PeerStatus) string {
	var out []string
	for _, p := range peer.AllowedIPs {
		if !p.IsSingleIP() || !slices.Contains([]netip.Addr{peer.Address, peer.Address6}, p.Addr()) {
			out = append(out, p.String())
		}
	}
	return strings.Join(out, ", ")
}

func state(s string) cli.Cell {
	tone := cli.Bad
	switch s {
	case wire.StateOK:
		tone = cli.Good
	case wire.StateDegraded:
		tone = cli.Warn
	}
	return cli.Cell{Text: s, Tone: tone}
}

func peerState(s string) cli.Cell {
	tone := cli.Bad
	switch s {
	case wire.PeerUp:
		tone = cli.Good
	case wire.PeerConnecting:
		tone = cli.Warn
	}
	return cli.Cell{Text: s, Tone: tone}
}

// addresses are those that there are.
func addresses(list ...netip.Addr) string {
	var out []string
	for _, a := range list {
		if a.IsValid() {
			out = append(out, a.String())
		}
	}
	return strings.Join(out, ", ")
}

// shown is an address, or nothing where there is none.
func shown(a netip.Addr) string { return addresses(a) }

// millis is a time in seconds as ping(8) shows it.
func millis(seconds float64) string {
	return fmt.Sprintf("%.2f ms", seconds*float64(time.Second/time.Millisecond))
}
