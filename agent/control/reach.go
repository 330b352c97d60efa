package control

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
)

// Reach reports whether a controller that this client accepts answers at one of the addresses: nil where one does.
// Nothing is asked of it.
func (c *Client) Reach(ctx context.Context, addresses []string) error {
	var failures []error
	for _, address := range addresses {
		err := c.reachAt(ctx, address)
		if err == nil || ctx.Err() != nil {
			return err
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

func (c *Client) reachAt(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	conn, err := c.dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	c.noteRemote(conn)
	return tls.Client(conn, c.config()).HandshakeContext(ctx)
}

// Remote is the address that a controller was last found at; invalid for none.
func (c *Client) Remote() netip.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remote
}

func (c *Client) noteRemote(conn net.Conn) {
	if at, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.remote = at.AddrPort().Addr().Unmap()
	}
}
