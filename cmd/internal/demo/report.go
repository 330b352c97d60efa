package demo

import (
	"fmt"

	"github.com/warren-mesh/warren/cmd/internal/orders"
	"github.com/warren-mesh/warren/cmd/internal/tap"
	"github.com/warren-mesh/warren/peers/wire"
)

// A Report is what a demo has shown.
type Report struct {
	OK       bool                  `json:"ok"`
	Verdicts []Verdict             `json:"verdicts"`
	Seconds  float64               `json:"seconds"`  // all of it
	UpAfter  float64               `json:"up_after"` // seconds from nothing to a tunnel between every two gateways
	Sites    []Site                `json:"sites"`
	Mesh     []wire.Status         `json:"mesh"`
	After    []wire.Status         `json:"after"`  // the last order, of those that live
	Faults   []Fault               `json:"faults"` // on purpose
	Pulses   int                   `json:"pulses"` // that came back
	Asked    int                   `json:"asked"`  // orders that were to be placed
	Sale     orders.Result         `json:"sale"`
	Books    orders.Reconciliation `json:"books"`
	Tap      tap.Report            `json:"tap"`
	TapError string                `json:"tap_error,omitempty"`
	Control  Control               `json:"control"`
}

// A Control is the negative control: one order outside of the tunnels.
type Control struct {
	Order    string     `json:"order"`
	Links    [2]string  `json:"links"` // where it had to leave, and to arrive
	Sent     bool       `json:"sent"`  // and acknowledged
	Tap      tap.Report `json:"tap"`
	TapError string     `json:"tap_error,omitempty"`
}

// caught reports whether the watch has seen the order for what it is, where it left and where it arrived.
func (c Control) caught() bool {
	for _, link := range c.Links {
		if r := c.Tap.Link(link); r.Packets.Other == 0 || r.Content == 0 {
			return false
		}
	}
	return c.Sent && c.TapError == ""
}

// A Verdict is one thing that the demo had to show.
type Verdict struct {
	OK   bool   `json:"ok"`
	Name string `json:"name"`
	Text string `json:"text"`
}

// judge comes to the verdicts.
func (r *Report) judge() {
	up, all := tunnels(r.Mesh)
	still, living := tunnels(r.After)
	seen := r.Tap.Total()
	r.Verdicts = []Verdict{
		{all > 0 && up == all, "tunnels", fmt.Sprintf("%d of %d tunnel ends were up before the first order", up, all)},
		{
			living > 0 && still == living, "still-up",
			fmt.Sprintf("%d of %d tunnel ends of those that live are up after the last", still, living),
		},
		{
			r.Sale.Acknowledged == r.Asked, "orders",
			fmt.Sprintf("%d of %d orders acknowledged end to end", r.Sale.Acknowledged, r.Asked),
		},
		{r.reconciled(), "books", r.booksText()},
		r.carried(),
		{r.TapError == "" && seen.Packets.All() > 0, "watch", r.watchText(seen)},
		{seen.Packets.Other == 0, "nothing-else", fmt.Sprintf("%d packets of anything else", seen.Packets.Other)},
		{seen.Content == 0, "no-content", fmt.Sprintf("%d packets with content of orders", seen.Content)},
		{r.Control.caught(), "control", r.Control.text()},
	}
	for i := range r.Faults {
		f := &r.Faults[i]
		text := fmt.Sprintf("%s (promised: %.0f s)", f.text(), promised.Seconds())
		r.Verdicts = append(r.Verdicts, Verdict{f.ok(), f.Name, text})
	}
	r.OK = true
	for _, v := range r.Verdicts {
		r.OK = r.OK && v.OK
	}
}

// carried holds the tunnel data on the links of each site against what orders and pulses need: on those of the shop
// one packet for each order and one for its receipt, on those of accounting for each invoice, on the warehouse's both.
// Pulses go from the shop to the warehouse and back.
func (r *Report) carried() Verdict {
	v := Verdict{true, "carried", "the tunnels carried a packet or more for each order and each receipt, on every site's links"}
	needs := map[string]int{
		shop: 2*r.Asked + 2*r.Pulses, warehouse: 4*r.Asked + 2*r.Pulses, accounting: 2 * r.Asked,
	}
	for i := range r.Sites {
		s, data := &r.Sites[i], 0
		for _, link := range s.Gateways {
			data += r.Tap.Link(link).Packets.Data
		}
		if data < needs[s.Name] {
			v.OK = false
			v.Text = fmt.Sprintf("the tunnels carried %d packets on the links of %s, and the orders need %d or more", data,
				s.Name, needs[s.Name])
		}
	}
	return v
}

func (r *Report) reconciled() bool {
	const services = 3
	return len(r.Books.Books) == services && len(orders.Reconcile(r.Asked, r.Books.Books)) == 0
}

func (r *Report) booksText() string {
	if len(r.Books.Differences) > 0 {
		return r.Books.Differences[0]
	}
	if len(r.Books.Books) == 0 {
		return "there are no books"
	}
	return fmt.Sprintf("till, ERP and ledger each have %d orders of %v", r.Books.Books[0].Count, r.Books.Books[0].Sum)
}

func (r *Report) watchText(seen tap.LinkReport) string {
	if r.TapError != "" {
		return r.TapError
	}
	return fmt.Sprintf("%d packets on %d links, every one seen whole", seen.Packets.All(), len(r.Tap.Links))
}

func (c Control) text() string {
	switch {
	case !c.Sent:
		return "the order on purpose outside of the tunnels did not arrive, so nobody knows whether it would be caught"
	case c.TapError != "":
		return c.TapError
	case !c.caught():
		return fmt.Sprintf("order %s was sent outside of the tunnels on purpose, and the watch did not catch it", c.Order)
	}
	return fmt.Sprintf("order %s, outside of the tunnels on purpose, was caught", c.Order)
}
