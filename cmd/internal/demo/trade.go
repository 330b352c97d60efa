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

	"github.com/warren-mesh/warren/cmd/internal/orders"
)

// servicePort is where each service listens, and books is where it keeps its book, on its host.
const (
	servicePort = 8080
	books       = "/var/lib/"
)

// self is this program, for the hosts.
const self = "/proc/self/exe"

// url is where a host's service is found.
func url(address netip.Addr) string {
	return "http://" + netip.AddrPortFrom(address, servicePort).String()
}

// service starts a service on a host at the address, and returns when it listens.
func (d *demo) service(ctx context.Context, kind, name, host string, at netip.Addr, flags ...string) error {
	listen := netip.AddrPortFrom(at, servicePort).String()
	d.options.Progress(fmt.Sprintf("%s: %s listens on %s", host, kind, listen))
	argv := []string{self, "orders", kind, "--listen", listen, "--book", books + name + ".jsonl"}
	daemon, err := d.lab.Host(host).Start(name, append(argv, flags...)...)
	if err != nil {
		return err
	}
	return daemon.Ready(ctx)
}

// trade lets the shop sell, and then asks all three for their books.
func (d *demo) trade(ctx context.Context) error {
	to := func(host string) netip.Addr { return d.options.flow(d, host) }
	if err := d.service(ctx, "accounting", "accounting", accounting, to(accounting)); err != nil {
		return err
	}
	if err := d.service(ctx, "erp", "erp", warehouse, to(warehouse), "--next", url(to(accounting))); err != nil {
		return err
	}
	d.options.Progress(fmt.Sprintf("%s: placing %d orders at %s", shop, d.options.Orders, url(to(warehouse))))
	result, stop, err := d.sell(ctx, "shop", to(shop), to(warehouse), 1, d.options.Orders)
	if err != nil {
		return err
	}
	d.report.Sale = result
	// Accounting asks, so that something is sent between each two of the hosts.
	d.options.Progress(accounting + ": reconciling the books")
	reconciled, err := d.reconcile(ctx, accounting, "shop="+url(to(shop)), "erp="+url(to(warehouse)),
		"accounting="+url(to(accounting)))
	d.report.Books = reconciled
	return errors.Join(err, stop())
}

// sell lets the shop place orders and returns how it went; stop ends the shop, which shows its book until then.
func (d *demo) sell(ctx context.Context, book string, at, to netip.Addr, first, count int) (
	result orders.Result, stop func() error, err error,
) {
	command := d.lab.Host(shop).Command(ctx, self, "orders", "shop", "--stay", "--note", d.marker,
		"--listen", netip.AddrPortFrom(at, servicePort).String(), "--to", url(to), "--book", books+book+".jsonl",
		"--first", strconv.Itoa(first), "--count", strconv.Itoa(count))
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

// leak is the negative control: an ERP listens on the internet as well, and the shop sends it one order there. It
// tells whether the watch would have seen it, had it happened before.
func (d *demo) leak(ctx context.Context) (err error) {
	to := d.options.leak(d, warehouse)
	d.options.Progress(fmt.Sprintf("%s: sending one order outside of the tunnels, on purpose, to %s", shop, url(to)))
	next := url(d.options.flow(d, accounting))
	if to != d.options.flow(d, warehouse) {
		if err := d.service(ctx, "erp", "erp-outside", warehouse, to, "--next", next); err != nil {
			return err
		}
	}
	watch, err := d.watch()
	if err != nil {
		return err
	}
	number := d.options.Orders + 1
	control, stop, err := d.sell(ctx, "shop-outside", d.options.flow(d, shop), to, number, 1)
	d.report.Control.Order = orders.Make(number, "").ID
	d.report.Control.Sent = control.Acknowledged == 1
	d.report.Control.Tap, d.report.Control.TapError = closeTap(watch)
	if err != nil {
		return fmt.Errorf("the negative control: %v", err)
	}
	return stop()
}
