package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/orders"
)

// servicePort is where each service listens, and books is where it keeps its book, on its host.
const (
	servicePort = 8080
	books       = "/var/lib/"
)

// self is this program, for the hosts.
const self = "/proc/self/exe"

// url is where a service is found.
func url(at spot) string { return "http://" + netip.AddrPortFrom(at.address, servicePort).String() }

// service starts a service at its spot, and returns when it listens.
func (d *demo) service(ctx context.Context, kind, name string, at spot, flags ...string) error {
	listen := netip.AddrPortFrom(at.address, servicePort).String()
	d.options.Progress(fmt.Sprintf("%s: %s listens on %s", at.host, kind, listen))
	argv := []string{self, "orders", kind, "--listen", listen, "--book", books + name + ".jsonl"}
	daemon, err := d.lab.Host(at.host).Start(name, append(argv, flags...)...)
	if err != nil {
		return err
	}
	return daemon.Ready(ctx)
}

// trade lets the shop sell while things go wrong, and then asks all three for their books.
func (d *demo) trade(ctx context.Context) error {
	to := func(site string) spot { return d.options.flow(d, site) }
	if err := d.service(ctx, "accounting", "accounting", to(accounting)); err != nil {
		return err
	}
	if err := d.service(ctx, "erp", "erp", to(warehouse), "--next", url(to(accounting))); err != nil {
		return err
	}
	p, err := d.beat(ctx)
	if err != nil {
		return err
	}
	d.options.Progress(fmt.Sprintf("%s: placing %d orders at %s", to(shop).host, d.options.Orders, url(to(warehouse))))
	ended := make(chan error, 1)
	var stop func() error
	go func() {
		defer close(d.sold)
		s := sale{"shop", to(shop), to(warehouse), 1, d.options.Orders, d.rate()}
		var err error
		d.report.Sale, stop, err = d.sell(ctx, s)
		ended <- err
	}()
	var wrong error
	if !d.options.calm {
		wrong = d.faults(ctx, p)
	}
	err = errors.Join(wrong, <-ended)
	d.report.Pulses = p.end()
	if err != nil {
		return err
	}
	// Accounting asks, so that something is sent between each two of the sites.
	d.options.Progress(to(accounting).host + ": reconciling the books")
	reconciled, err := d.reconcile(ctx, to(accounting).host, "shop="+url(to(shop)), "erp="+url(to(warehouse)),
		"accounting="+url(to(accounting)))
	d.report.Books = reconciled
	return errors.Join(err, stop())
}

// beat starts the pulse between the shop's LAN and the warehouse's, and waits until it comes back.
func (d *demo) beat(ctx context.Context) (*pulse, error) {
	from, to := d.site(shop), d.site(warehouse)
	d.options.Progress(fmt.Sprintf("%s: asking %v on the LAN of %s, 50 times a second", from.Machine, to.Address, to.Name))
	p, err := beat(d.lab.Host(from.Machine), d.lab.Host(to.Machine), to.Address, d.marker)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.flows(ctx, time.Time{}); err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

// rate spreads the orders over some seconds, so that things can go wrong in the middle of them.
func (d *demo) rate() float64 {
	const seconds = 8
	if d.options.calm {
		return 0
	}
	return float64(d.options.Orders) / seconds
}

// A sale is orders that a shop places.
type sale struct {
	book         string
	from, to     spot
	first, count int
	rate         float64
}

// sell lets the shop place orders and returns how it went; stop ends the shop, which shows its book until then.
func (d *demo) sell(ctx context.Context, s sale) (result orders.Result, stop func() error, err error) {
	command := d.lab.Host(s.from.host).Command(ctx, self, "orders", "shop", "--stay", "--note", d.marker,
		"--listen", netip.AddrPortFrom(s.from.address, servicePort).String(), "--to", url(s.to),
		"--book", books+s.book+".jsonl", "--first", strconv.Itoa(s.first), "--count", strconv.Itoa(s.count),
		"--rate", strconv.FormatFloat(s.rate, 'f', -1, 64))
	var stderr bytes.Buffer
	command.Stderr = &stderr
	stdout, err := command.StdoutPipe()
	if err != nil {
		return result, nil, err
	}
	if err := command.Start(); err != nil {
		return result, nil, err
	}
	if err := json.NewDecoder(stdout).Decode(&result); err != nil {
		return result, nil, errors.Join(fmt.Errorf("the shop said nothing of its orders: %v\n%s", err, &stderr), end(command))
	}
	return result, func() error { return end(command) }, nil
}

// end stops a command that runs until it is stopped.
func end(command *exec.Cmd) error {
	// It may have ended, which Wait reports.
	_ = command.Process.Signal(syscall.SIGTERM)
	return command.Wait()
}

// reconcile runs the comparison of the books on a host. Its exit code tells whether they agree; so does the answer.
func (d *demo) reconcile(ctx context.Context, host string, services ...string) (r orders.Reconciliation, err error) {
	argv := append([]string{self, "orders", "reconcile", "--count", strconv.Itoa(d.options.Orders)}, services...)
	command := d.lab.Host(host).Command(ctx, argv...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, ran := command.Output()
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("reconciling the books: %v\n%s", errors.Join(ran, err), &stderr)
	}
	return r, nil
}

// leak is the negative control: an ERP listens on the internet as well, and the shop's gateway sends it one order there.
// It tells whether the watch would have seen it, had it happened before.
func (d *demo) leak(ctx context.Context) (err error) {
	from, to := d.options.leak(d, shop), d.options.leak(d, warehouse)
	d.options.Progress(fmt.Sprintf("%s: sending one order outside of the tunnels, on purpose, to %s", from.host, url(to)))
	if to != d.options.flow(d, warehouse) {
		if err := d.service(ctx, "erp", "erp-outside", to, "--next", url(d.options.flow(d, accounting))); err != nil {
			return err
		}
	}
	watch, err := d.watch()
	if err != nil {
		return err
	}
	s := sale{"shop-outside", from, to, d.options.Orders + 1, 1, 0}
	control, stop, err := d.sell(ctx, s)
	d.report.Control.Order = orders.Make(s.first, "").ID
	d.report.Control.Links = [2]string{outside(d, shop).host, outside(d, warehouse).host}
	d.report.Control.Sent = control.Acknowledged == 1
	d.report.Control.Tap, d.report.Control.TapError = closeTap(watch)
	if err != nil {
		return fmt.Errorf("the negative control: %v", err)
	}
	return stop()
}
