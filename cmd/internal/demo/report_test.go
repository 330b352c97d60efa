package demo

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/internal/orders"
	"github.com/warren-mesh/warren/cmd/internal/tap"
	"github.com/warren-mesh/warren/peers/wire"
)

// good is the report of a demo of ten orders in which all went well.
func good() Report {
	up := func(host string, peers ...string) wire.Status {
		s := wire.Status{
			Host: host, State: wire.StateOK, Backend: "userspace", Generation: 1,
			Address: netip.MustParseAddr("10.90.0.1"),
		}
		for _, peer := range peers {
			s.Peers = append(s.Peers, wire.PeerStatus{Host: peer, State: wire.PeerUp})
		}
		return s
	}
	link := func(name string, data int) tap.LinkReport {
		return tap.LinkReport{
			Link: name, Packets: tap.Counts{Handshake: 4, Data: data, Control: 30, Housekeeping: 5},
			Housekeeping: map[string]int{"ARP": 3, "neighbour discovery": 2},
		}
	}
	caught := func(name string) tap.LinkReport {
		return tap.LinkReport{Link: name, Packets: tap.Counts{Other: 9}, Content: 1, Found: []tap.Sighting{
			{Side: "from shop", What: "TCP 192.0.2.2:4 → 203.0.113.2:8080", Bytes: 420, Content: "Hanna Brandt"},
		}}
	}
	book := orders.Summary{Count: 10, Sum: 12345, Digest: "0123456789abcdef"}
	return Report{
		Seconds: 3.25, UpAfter: 1.5, Asked: 10,
		Mesh: []wire.Status{
			up(shop, "wh-gw1", "wh-gw2", accounting), up("wh-gw1", shop, "wh-gw2", accounting),
			up("wh-gw2", shop, "wh-gw1", accounting), up(accounting, shop, "wh-gw1", "wh-gw2"),
		},
		// The dead one may still be held to be up: it is not counted.
		After: []wire.Status{
			up(shop, "wh-gw1", "wh-gw2", accounting), up("wh-gw2", shop, accounting), up(accounting, shop, "wh-gw2"),
		},
		Sites: company(), Pulses: 50,
		Faults: []Fault{
			{Name: "gateway", What: "the gateway wh-gw1 dies", After: 3, Seconds: 2.34, Lost: 117},
			{Name: "tunnel", What: "the interface wrn0 of shop is deleted", After: 6, Seconds: 0.4, Lost: 20},
		},
		Sale: orders.Result{Acknowledged: 10, PerSecond: 200, P50: 0.004, P99: 0.02, Book: book},
		Books: orders.Reconciliation{Books: []orders.Named{
			{Name: "shop", Summary: book}, {Name: "erp", Summary: book}, {Name: "accounting", Summary: book},
		}},
		Tap: tap.Report{Links: []tap.LinkReport{link(shop, 120), link("wh-gw1", 60), link("wh-gw2", 80), link(accounting, 20)}},
		Control: Control{
			Order: "A-000011", Sent: true, Links: [2]string{shop, "wh-gw2"},
			Tap: tap.Report{Links: []tap.LinkReport{caught(shop), caught("wh-gw2")}},
		},
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Report)
		want   string // names of the failed verdicts
	}{
		{"all well", func(*Report) {}, ""},
		{"a tunnel end is not up", func(r *Report) { r.Mesh[1].Peers[0].State = wire.PeerConnecting }, "tunnels"},
		{"a peer is missing", func(r *Report) { r.Mesh[1].Peers = r.Mesh[1].Peers[1:] }, "tunnels"},
		{"no host", func(r *Report) { r.Mesh = nil }, "tunnels"},
		{"a tunnel end of the living has not come back", func(r *Report) { r.After[1].Peers[0].State = wire.PeerDown }, "still-up"},
		{"all are dead", func(r *Report) { r.After = nil }, "still-up"},
		{"a gateway was missed for too long", func(r *Report) { r.Faults[0].Seconds = 5.1 }, "gateway"},
		{"a tunnel did not come back", func(r *Report) { r.Faults[1].Error = "nothing gets through" }, "tunnel"},
		{"an order was not acknowledged", func(r *Report) { r.Sale.Acknowledged-- }, "orders"},
		{"a book lacks an order", func(r *Report) { r.Books.Books[2].Count-- }, "books"},
		{"a sum differs", func(r *Report) { r.Books.Books[1].Sum++ }, "books"},
		{"all books lack an order", func(r *Report) {
			for i := range r.Books.Books {
				r.Books.Books[i].Count--
			}
		}, "books"},
		{"a book is missing", func(r *Report) { r.Books.Books = r.Books.Books[:2] }, "books"},
		{"too little in the tunnels of the shop", func(r *Report) { r.Tap.Links[0].Packets.Data = 119 }, "carried"},
		{"too little in the tunnels of the warehouse", func(r *Report) { r.Tap.Links[1].Packets.Data = 59 }, "carried"},
		{"too little in the tunnels of accounting", func(r *Report) { r.Tap.Links[3].Packets.Data = 19 }, "carried"},
		{"one packet of anything else", func(r *Report) { r.Tap.Links[0].Packets.Other = 1 }, "nothing-else"},
		{"one packet with content", func(r *Report) { r.Tap.Links[2].Content = 1 }, "no-content"},
		{"packets missed", func(r *Report) { r.TapError = "lost 3" }, "watch"},
		{"nothing seen", func(r *Report) { r.Tap = tap.Report{} }, "carried watch"},
		{"control not sent", func(r *Report) { r.Control.Sent = false }, "control"},
		{"control not seen where it left", func(r *Report) { r.Control.Tap.Links[0].Packets.Other = 0 }, "control"},
		{"content of the control not found where it arrived", func(r *Report) { r.Control.Tap.Links[1].Content = 0 }, "control"},
		{"packets missed during the control", func(r *Report) { r.Control.TapError = "lost 3" }, "control"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := good()
			c.change(&r)
			r.judge()
			if got := failed(r); got != c.want || r.OK != (c.want == "") {
				t.Errorf("failed: %q (ok: %v), want %q", got, r.OK, c.want)
			}
			if marked := strings.Count(text(r), "FAILED"); (marked > 0) == r.OK {
				t.Errorf("ok: %v, and FAILED is there %d times:\n%s", r.OK, marked, text(r))
			}
		})
	}
}

func TestPrint(t *testing.T) {
	r := good()
	r.judge()
	const want = `
The mesh  from nothing to a tunnel between every two gateways in 1.5 s
HOST        ADDRESS    STATE  WIREGUARD  GENERATION  TUNNELS
shop        10.90.0.1  ok     userspace  1           wh-gw1 up, wh-gw2 up, accounting up
wh-gw1      10.90.0.1  ok     userspace  1           shop up, wh-gw2 up, accounting up
wh-gw2      10.90.0.1  ok     userspace  1           shop up, wh-gw1 up, accounting up
accounting  10.90.0.1  ok     userspace  1           shop up, wh-gw1 up, wh-gw2 up

The LANs  machines that know nothing of the mesh, and send all to the router of their LAN
SITE        NETWORK       GATEWAYS        MACHINE  ADDRESS
shop        10.10.0.0/24  shop            till     10.10.0.10
warehouse   10.20.0.0/24  wh-gw1, wh-gw2  erp      10.20.0.10
accounting  10.30.0.0/24  accounting      ledger   10.30.0.10

The orders  till in the shop → ERP in the warehouse → ledger of accounting, and the receipt all the way back
10 of 10 acknowledged, 200 each second; order to receipt: p50 4 ms, p99 20 ms
BOOK        ORDERS  SUM       DIGEST OF ALL
shop        10      123.45 €  0123456789ab
erp         10      123.45 €  0123456789ab
accounting  10      123.45 €  0123456789ab

What went wrong meanwhile  on purpose; seen by a pulse from the till to the ERP, 50 times a second
FAULT                                  WHEN            LAN TO LAN AGAIN  PULSES LOST
the gateway wh-gw1 dies                after 3 orders  after 2.3 s       117
the interface wrn0 of shop is deleted  after 6 orders  after 0.4 s       20

The internet  every packet on every link, from before the first enrolment to the last order
LINK        HANDSHAKE  DATA  CONTROL  HOUSEKEEPING  ANYTHING ELSE  WITH CONTENT
shop        4          120   30       5             0              0
wh-gw1      4          60    30       5             0              0
wh-gw2      4          80    30       5             0              0
accounting  4          20    30       5             0              0
all         16         280   120      20            0              0
Handshake and data are WireGuard's, control is TLS to the controller.
Housekeeping, which every link has: ARP 12, neighbour discovery 8.
A packet between two hosts crosses two links, and is counted on both.

Does the watch work?  one order leaves the gateway of the shop outside of the tunnels, on purpose
link shop: 9 packets of anything else, 1 of them with content
  from shop  TCP 192.0.2.2:4 → 203.0.113.2:8080  420 B  "Hanna Brandt"
link wh-gw2: 9 packets of anything else, 1 of them with content
  from shop  TCP 192.0.2.2:4 → 203.0.113.2:8080  420 B  "Hanna Brandt"

Verdict
ok      12 of 12 tunnel ends were up before the first order
ok      6 of 6 tunnel ends of those that live are up after the last
ok      10 of 10 orders acknowledged end to end
ok      till, ERP and ledger each have 10 orders of 123.45 €
ok      the tunnels carried a packet or more for each order and each receipt, on every site's links
ok      436 packets on 4 links, every one seen whole
ok      0 packets of anything else
ok      0 packets with content of orders
ok      order A-000011, outside of the tunnels on purpose, was caught
ok      the gateway wh-gw1 dies: LAN to LAN again after 2.3 s (promised: 5 s)
ok      the interface wrn0 of shop is deleted: LAN to LAN again after 0.4 s (promised: 5 s)

ok      3.2 s in all; nothing is left on this machine
`
	if got := text(r); got != want {
		t.Errorf("printed:\n%s\nwant:\n%s", got, want)
	}
}

func TestColourOnlyWhereAsked(t *testing.T) {
	r := good()
	r.judge()
	if strings.Contains(text(r), "\x1b") {
		t.Error("colour, and nobody has asked for it")
	}
	var b strings.Builder
	r.Print(&cli.Page{W: &b, Colour: true})
	if !strings.Contains(b.String(), "\x1b[32mok    \x1b[0m") {
		t.Errorf("no colour:\n%s", &b)
	}
}
