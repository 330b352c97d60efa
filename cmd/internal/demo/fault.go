package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// promised is how long a fault may keep LANs from each other.
const promised = 5 * time.Second

// A Fault is something that is done on purpose while orders are under way.
type Fault struct {
	Name    string  `json:"name"`
	What    string  `json:"what"`
	After   int     `json:"after"`   // orders that the till had booked by then
	Seconds float64 `json:"seconds"` // for which nothing got from LAN to LAN
	Lost    int     `json:"lost"`    // pulses
	Error   string  `json:"error,omitempty"`
}

// ok reports whether all went on in time.
func (f *Fault) ok() bool { return f.Error == "" && f.Seconds <= promised.Seconds() }

// faults kills a gateway when a quarter of the orders is placed, and deletes a tunnel after another third.
func (d *demo) faults(ctx context.Context, p *pulse) error {
	warehouse := d.site(warehouse)
	victim := warehouse.Gateways[0]
	tunnel := d.status[shop].Interfaces[0].Name
	for _, f := range []struct {
		name, what string
		part       float64 // of the orders
		do         func() error
	}{
		{"gateway", "the gateway " + victim + " dies", 0.25, func() error {
			d.dead = victim
			return d.lab.Host(victim).Crash()
		}},
		{"tunnel", "the interface " + tunnel + " of " + shop + " is deleted", 0.6, func() error {
			return d.lab.Host(shop).DeleteLink(tunnel)
		}},
	} {
		if err := d.awaitOrders(ctx, int(f.part*float64(d.options.Orders))); err != nil {
			return err
		}
		fault := Fault{Name: f.name, What: f.what, After: d.booked()}
		d.options.Progress(fmt.Sprintf("after %d orders, on purpose: %s", fault.After, f.what))
		began := time.Now()
		if err := f.do(); err != nil {
			return fmt.Errorf("%s: %v", f.what, err)
		}
		fault.watch(ctx, p, began)
		d.options.Progress(fault.text())
		d.report.Faults = append(d.report.Faults, fault)
	}
	return nil
}

// watch waits until traffic flows again, and notes for how long it did not.
func (f *Fault) watch(ctx context.Context, p *pulse, since time.Time) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.flows(ctx, since); err != nil {
		f.Error = err.Error()
	}
	longest, lost := p.outage(since)
	f.Seconds, f.Lost = longest.Seconds(), lost
}

func (f *Fault) text() string {
	if f.Error != "" {
		return f.What + ": " + f.Error
	}
	return fmt.Sprintf("%s: LAN to LAN again after %.1f s", f.What, f.Seconds)
}

// booked is how many orders are in the till's book.
func (d *demo) booked() int {
	text, err := os.ReadFile(d.lab.Host(d.site(shop).Machine).Path(books + "shop.jsonl"))
	if err != nil {
		return 0 // there is none yet
	}
	return bytes.Count(text, []byte{'\n'})
}

// awaitOrders waits until so many orders are in the till's book.
func (d *demo) awaitOrders(ctx context.Context, count int) error {
	ctx, cancel := context.WithTimeout(ctx, timeout(d.options.Orders))
	defer cancel()
	ticker := time.NewTicker(pulseEvery)
	defer ticker.Stop()
	for d.booked() < count {
		select {
		case <-ticker.C:
		case <-d.sold:
			return errors.New("the sale is over before the fault")
		case <-ctx.Done():
			return fmt.Errorf("%d of %d orders are booked: %w", d.booked(), count, ctx.Err())
		}
	}
	return nil
}
