package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/warren-mesh/warren/cmd/internal/daemon"
	"github.com/warren-mesh/warren/cmd/internal/socket"
)

// maxAdvertised is how many addresses an enrolment token has room for.
const maxAdvertised = 8

// hintedError is an error with what helps.
type hintedError struct {
	error
	hint string
}

func hinted(err error, hint string) error { return &hintedError{err, hint} }

// Hint says what helps.
func (e *hintedError) Hint() string { return e.hint }

// Unwrap gives the error without the hint.
func (e *hintedError) Unwrap() error { return e.error }

// listenLocal opens the door for admins on this machine.
func listenLocal(path string) (net.Listener, error) {
	l, err := socket.Listen(path)
	switch {
	case errors.Is(err, socket.ErrInUse):
		return nil, hinted(err, "another controller runs here: systemctl status warren-controller")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return nil, hinted(err, "give --socket a path that this user may write to")
	}
	return l, err
}

// listenRemote opens the door for hosts, and for admins elsewhere.
func listenRemote(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, hinted(fmt.Errorf("listen on %s: another program has this port", address),
			"see which: ss -ltnp, or give --listen another one")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, hinted(fmt.Errorf("listen on %s: this machine does not have the address", address),
			"see which it has: ip address")
	case err != nil:
		return nil, hinted(fmt.Errorf("listen on %s: %w", address, err), "give --listen ADDRESS:PORT")
	}
	return l, nil
}

// checkAdvertised checks addresses for hosts. Those without a port get that of listen.
func checkAdvertised(addresses []string, listen string) ([]string, error) {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, daemon.Usage("--listen %q: want ADDRESS:PORT, or :PORT", listen)
	}
	if len(addresses) > maxAdvertised {
		return nil, daemon.Usage("--advertise: %d addresses, a token has room for %d", len(addresses), maxAdvertised)
	}
	var out []string
	for _, a := range addresses {
		host, p, err := net.SplitHostPort(a)
		if err != nil {
			host, p = strings.Trim(a, "[]"), port
		}
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 || host == "" || len(host) > 240 || strings.ContainsAny(host, " /") {
			return nil, daemon.Usage("--advertise %q: want HOST:PORT", a)
		}
		out = append(out, net.JoinHostPort(host, p))
	}
	return out, nil
}

// routable gives the addresses at which a listener can be reached from other machines, IPv4 first.
func routable(at net.Addr) ([]string, error) {
	bound, err := netip.ParseAddrPort(at.String())
	if err != nil {
		return nil, fmt.Errorf("address of the listener: %v", err)
	}
	if !bound.Addr().IsUnspecified() {
		return []string{netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port()).String()}, nil
	}
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("addresses of this machine: %v", err)
	}
	var found []netip.Addr
	for _, link := range links {
		if link.Flags&net.FlagUp != 0 && !internal(link.Name) {
			found = append(found, addressesOf(link)...)
		}
	}
	slices.SortStableFunc(found, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	var out []string
	for _, a := range found[:min(len(found), maxAdvertised)] {
		out = append(out, netip.AddrPortFrom(a, bound.Port()).String())
	}
	return out, nil
}

// internal tells links that lead to this machine's own containers, or into the mesh itself.
func internal(link string) bool {
	prefixes := []string{"wrn", "docker", "br-", "veth", "virbr", "cni", "flannel"}
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(link, prefix) })
}

func addressesOf(link net.Interface) []netip.Addr {
	addresses, err := link.Addrs()
	if err != nil {
		return nil // the link is gone again
	}
	var out []netip.Addr
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out
}
