package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/orders"
	"github.com/warren-mesh/warren/cmd/internal/tap"
	"github.com/warren-mesh/warren/peers/wire"
)

// Options say what is shown.
type Options struct {
	Programs string               // directory of warren, warren-agent and warren-controller
	Orders   int                  // to be placed
	Backend  string               // of the agents
	Progress func(message string) // called as things happen
	Logs     io.Writer            // for the daemons' logs, if something fails

	flow, leak way
	calm       bool // nothing goes wrong on purpose
}

// A way is where a site's part of the business is, and with that how the others get there.
type way func(d *demo, site string) spot

// A spot is an address that a host has.
type spot struct {
	host    string
	address netip.Addr
}

// inside leads from LAN to LAN, through the tunnels.
func inside(d *demo, site string) spot {
	s := d.site(site)
	return spot{s.Machine, s.Address}
}

// outside leads past them, from the last of a site's gateways to the other's.
func outside(d *demo, site string) spot {
	s := d.site(site)
	host := s.Gateways[len(s.Gateways)-1]
	return spot{host, d.lab.Host(host).IPv4()}
}

// A demo is one run. It belongs to one goroutine.
type demo struct {
	options Options
	lab     *lab.Lab
	mesh    *lab.Mesh
	status  map[string]wire.Status // by host
	marker  string                 // in every order and pulse, and nowhere else
	dead    string                 // the gateway that was killed
	sold    chan struct{}          // closed when the sale is over
	report  Report
}

// Run shows everything and reports. The program must be in a lab. With an error the demo could not be carried out;
// without one the report says whether all is well.
func Run(ctx context.Context, o Options) (report Report, err error) {
	if o.flow == nil {
		o.flow = inside
	}
	if o.leak == nil {
		o.leak = outside
	}
	began := time.Now()
	l, err := lab.New(topology(o.Programs))
	if err != nil {
		return Report{}, err
	}
	d := &demo{
		options: o, lab: l, status: make(map[string]wire.Status), marker: rand.Text(), sold: make(chan struct{}),
		report: Report{Sites: company()},
	}
	err = d.run(ctx)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		err = ctx.Err() // whatever else failed, failed because of it
	case err != nil:
		l.WriteLogs(o.Logs)
	}
	err = errors.Join(err, l.Close())
	d.report.Seconds = time.Since(began).Seconds()
	d.report.judge()
	return d.report, err
}

func (d *demo) run(ctx context.Context) error {
	d.report.Asked = d.options.Orders
	watch, err := d.watch()
	if err != nil {
		return err
	}
	err = d.work(ctx)
	d.report.Tap, d.report.TapError = closeTap(watch)
	if err != nil {
		return err
	}
	return d.leak(ctx)
}

// work is what an operator and the sites do, from the first start to the last order.
func (d *demo) work(ctx context.Context) (err error) {
	began := time.Now()
	d.mesh, err = lab.StartMesh(ctx, d.lab, lab.MeshOptions{Backend: d.options.Backend, Progress: d.options.Progress})
	if err != nil {
		return err
	}
	if err := errors.Join(d.join(ctx), d.awaitTunnels(ctx)); err != nil {
		return err
	}
	d.report.UpAfter = time.Since(began).Seconds()
	if err := d.trade(ctx); err != nil {
		return err
	}
	d.report.After, err = d.look(ctx) // again: the tunnels still have to be up
	return err
}

// watch taps every link that the router has, which are all links of the internet.
func (d *demo) watch() (*tap.Tap, error) {
	const controllerPort = 7443
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("looking for the links of the internet: %v", err)
	}
	o := tap.Options{WireGuard: []uint16{51820, 51821}, Content: d.content()}
	controller := d.lab.Host(lab.DefaultController)
	for _, address := range []netip.Addr{controller.IPv4(), controller.IPv6()} {
		if address.IsValid() {
			o.Controller = append(o.Controller, netip.AddrPortFrom(address, controllerPort))
		}
	}
	for _, link := range links {
		if link.Flags&net.FlagLoopback == 0 {
			o.Links = append(o.Links, link.Name)
		}
	}
	d.options.Progress(fmt.Sprintf("%s: tapping the links %v", lab.RouterName, o.Links))
	return tap.Open(o)
}

// content are the texts that give an order away, those first that say most to a reader.
func (d *demo) content() []string {
	return append(orders.Customers(), "POST /orders", "POST /invoices", d.marker)
}

// closeTap turns packets that were missed into a finding: what was seen is worth showing all the same.
func closeTap(t *tap.Tap) (tap.Report, string) {
	report, err := t.Close()
	if err != nil {
		return report, err.Error()
	}
	return report, ""
}
