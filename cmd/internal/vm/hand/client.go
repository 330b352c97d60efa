package hand

import (
	"context"
	"io"
	"net/netip"
	"net/rpc"
)

// A Client is the end on this machine.
type Client struct{ rpc *rpc.Client }

// NewClient speaks over a port whose other end a Server has, or will have.
func NewClient(port io.ReadWriteCloser) *Client { return &Client{rpc.NewClient(port)} }

// Close gives the port back. Calls that wait for an answer end with an error.
func (c *Client) Close() error { return c.rpc.Close() }

func (c *Client) call(ctx context.Context, method string, args, reply any) error {
	call := c.rpc.Go("Hand."+method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		return call.Error
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run runs a command in the guest.
func (c *Client) Run(ctx context.Context, cmd Command) (r Result, err error) {
	var got Result
	if err := c.call(ctx, "Run", cmd, &got); err != nil {
		return Result{}, err
	}
	return got, nil
}

// Echo has the guest send back what comes to the address.
func (c *Client) Echo(ctx context.Context, at netip.AddrPort) error {
	return c.call(ctx, "Echo", at, &Nothing{})
}

// Begin starts a flow.
func (c *Client) Begin(ctx context.Context, spec FlowSpec) error {
	return c.call(ctx, "Begin", spec, &Nothing{})
}

// Look tells how a flow goes.
func (c *Client) Look(ctx context.Context, name string) (Flow, error) {
	return flowCall(ctx, c, "Look", name)
}

// End stops a flow and tells how it went.
func (c *Client) End(ctx context.Context, name string) (Flow, error) {
	return flowCall(ctx, c, "End", name)
}

func flowCall(ctx context.Context, c *Client, method, name string) (Flow, error) {
	var got Flow
	if err := c.call(ctx, method, name, &got); err != nil {
		return Flow{}, err
	}
	return got, nil
}

// Boot tells when the guest's network came up, and when the first answer came.
func (c *Client) Boot(ctx context.Context) (Boot, error) {
	var got Boot
	if err := c.call(ctx, "Boot", Nothing{}, &got); err != nil {
		return Boot{}, err
	}
	return got, nil
}

// Flooded tells how the flood goes that the guest began with.
func (c *Client) Flooded(ctx context.Context) (Flooded, error) {
	var got Flooded
	if err := c.call(ctx, "Flooded", Nothing{}, &got); err != nil {
		return Flooded{}, err
	}
	return got, nil
}

// Watch begins to count the packets of a link.
func (c *Client) Watch(ctx context.Context, spec WatchSpec) error {
	return c.call(ctx, "Watch", spec, &Nothing{})
}

// Watched tells what the watch has seen.
func (c *Client) Watched(ctx context.Context) (Watched, error) {
	var got Watched
	if err := c.call(ctx, "Watched", Nothing{}, &got); err != nil {
		return Watched{}, err
	}
	return got, nil
}
