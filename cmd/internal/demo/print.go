package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/internal/tap"
	"github.com/warren-mesh/warren/peers/wire"
)

// Print writes the report for people.
func (r Report) Print(p *cli.Page) {
	p.Title("The mesh", fmt.Sprintf("from nothing to a tunnel between every two gateways in %.1f s", r.UpAfter))
	r.printMesh(p)
	p.Title("The LANs", "machines that know nothing of the mesh, and send all to the router of their LAN")
	r.printSites(p)
	p.Title("The orders", "till in the shop → ERP in the warehouse → ledger of accounting, and the receipt all the way back")
	r.printOrders(p)
	if len(r.Faults) > 0 {
		p.Title("What went wrong meanwhile", "on purpose; seen by a pulse from the till to the ERP, 50 times a second")
		r.printFaults(p)
	}
	p.Title("The internet", "every packet on every link, from before the first enrolment to the last order")
	printTap(p, r.Tap)
	p.Title("Does the watch work?", "one order leaves the gateway of the shop outside of the tunnels, on purpose")
	r.Control.print(p)
	p.Title("Verdict", "")
	for _, v := range r.Verdicts {
		fmt.Fprintf(p.W, "%s  %s\n", mark(p, v.OK), cli.Clean(v.Text))
	}
	fmt.Fprintf(p.W, "\n%s  %.1f s in all; nothing is left on this machine\n", mark(p, r.OK), r.Seconds)
}

// mark says in one word, of one width, whether something is as it should be.
func mark(p *cli.Page, ok bool) string {
	if ok {
		return p.Paint(cli.Good, "ok    ")
	}
	return p.Paint(cli.Bad, "FAILED")
}

func (r Report) printMesh(p *cli.Page) {
	var rows [][]any
	for _, host := range r.Mesh {
		var ends []string
		for _, peer := range host.Peers {
			ends = append(ends, peer.Host+" "+peer.State)
		}
		rows = append(rows, []any{
			host.Host, host.Address, tone(host.State, host.State == wire.StateOK), host.Backend, host.Generation,
			strings.Join(ends, ", "),
		})
	}
	p.Grid([]string{"HOST", "ADDRESS", "STATE", "WIREGUARD", "GENERATION", "TUNNELS"}, rows)
}

func (r Report) printSites(p *cli.Page) {
	var rows [][]any
	for _, s := range r.Sites {
		rows = append(rows, []any{s.Name, s.Network, strings.Join(s.Gateways, ", "), s.Machine, s.Address})
	}
	p.Grid([]string{"SITE", "NETWORK", "GATEWAYS", "MACHINE", "ADDRESS"}, rows)
}

func (r Report) printFaults(p *cli.Page) {
	var rows [][]any
	for i := range r.Faults {
		f := &r.Faults[i]
		again := fmt.Sprintf("after %.1f s", f.Seconds)
		if f.Error != "" {
			again = "not at all"
		}
		rows = append(rows, []any{f.What, fmt.Sprintf("after %d orders", f.After), tone(again, f.ok()), f.Lost})
	}
	p.Grid([]string{"FAULT", "WHEN", "LAN TO LAN AGAIN", "PULSES LOST"}, rows)
}

func tone(text string, ok bool) cli.Cell {
	if ok {
		return cli.Cell{Text: text, Tone: cli.Good}
	}
	return cli.Cell{Text: text, Tone: cli.Bad}
}

func (r Report) printOrders(p *cli.Page) {
	p.Line("%d of %d acknowledged, %.0f each second; order to receipt: p50 %.0f ms, p99 %.0f ms",
		r.Sale.Acknowledged, r.Asked, r.Sale.PerSecond, r.Sale.P50*1000, r.Sale.P99*1000)
	var rows [][]any
	for _, book := range r.Books.Books {
		rows = append(rows, []any{book.Name, book.Count, book.Sum, book.Digest[:min(12, len(book.Digest))]})
	}
	p.Grid([]string{"BOOK", "ORDERS", "SUM", "DIGEST OF ALL"}, rows)
}

func printTap(p *cli.Page, report tap.Report) {
	total := report.Total()
	rows := make([][]any, 0, len(report.Links)+1)
	for _, link := range append(slices.Clone(report.Links), total) {
		n := link.Packets
		rows = append(rows, []any{
			link.Link, n.Handshake, n.Data, n.Control, n.Housekeeping, tone(fmt.Sprint(n.Other), n.Other == 0),
			tone(fmt.Sprint(link.Content), link.Content == 0),
		})
	}
	p.Grid([]string{"LINK", "HANDSHAKE", "DATA", "CONTROL", "HOUSEKEEPING", "ANYTHING ELSE", "WITH CONTENT"}, rows)
	var sorts []string
	for _, sort := range slices.Sorted(maps.Keys(total.Housekeeping)) {
		sorts = append(sorts, fmt.Sprintf("%s %d", sort, total.Housekeeping[sort]))
	}
	p.Line("Handshake and data are WireGuard's, control is TLS to the controller.")
	p.Line("Housekeeping, which every link has: %s.", strings.Join(sorts, ", "))
	p.Line("A packet between two hosts crosses two links, and is counted on both.")
	printSightings(p, append(total.Others, total.Found...))
}

func (c Control) print(p *cli.Page) {
	for _, name := range c.Links {
		link := c.Tap.Link(name)
		p.Line("link %s: %d packets of anything else, %d of them with content", name, link.Packets.Other, link.Content)
		printSightings(p, link.Found)
	}
}

// printSightings shows the first few.
func printSightings(p *cli.Page, list []tap.Sighting) {
	const enough = 3
	for _, s := range list[:min(enough, len(list))] {
		text := ""
		if s.Content != "" {
			text = fmt.Sprintf("  %q", s.Content)
		}
		p.Line("  %s  %s  %s%s", s.Side, s.What, cli.Size(uint64(s.Bytes)), text)
	}
}
