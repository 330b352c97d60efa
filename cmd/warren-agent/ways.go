package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	sendWait    = 500 * time.Millisecond
	resolveWait = 5 * time.Second
)

// send sends a datagram of one byte, which WireGuard ignores, and gives what the network says of it. Silence
// is no error.
func send(ctx context.Context, to netip.AddrPort) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", to.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{0}); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(sendWait)); err != nil {
		return err
	}
	if _, err = conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// resolve looks up a name.
func resolve(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, resolveWait)
	defer cancel()
	_, err := net.DefaultResolver.LookupHost(ctx, name)
	return err
}
