package client

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/pin"
)

// unreachable says why the daemon could not be spoken to. A context that the user ended is returned as it
// is.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	if c.tls() {
		return c.farUnreachable(err)
	}
	start := "systemctl start warren-" + c.daemon
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c.down(start, "the %s does not run here: there is no socket %s", c.daemon, c.at)
	case errors.Is(err, syscall.ECONNREFUSED):
		return c.down(start, "the %s does not run: nobody answers on %s", c.daemon, c.at)
	case errors.Is(err, fs.ErrPermission):
		return c.down("be root or in the group warren: sudo usermod -aG warren USER",
			"you may not open the socket of the %s, %s", c.daemon, c.at)
	case timedOut(err):
		return c.down("see what it does: systemctl status warren-"+c.daemon,
			"the %s at %s does not answer in time", c.daemon, c.at)
	}
	return c.down("see why: journalctl -u warren-"+c.daemon+" -n 20",
		"the %s at %s went away: %s", c.daemon, c.at, root(err))
}

// farUnreachable is unreachable for a controller on another machine.
func (c *Client) farUnreachable(err error) error {
	switch {
	case errors.Is(err, pin.ErrPin):
		return &cli.Error{
			Exit: cli.ExitDown, Code: "pin-mismatch",
			Message: "what answers at " + c.at + " is not the controller with the pinned identity key",
			Remedy:  "compare the pin with the one that is told on the controller: warren mesh show",
		}
	case timedOut(err):
		return c.down("is the port open? on the controller: systemctl status warren-controller",
			"nobody answers at %s in time", c.at)
	}
	return c.down("on the controller: systemctl status warren-controller",
		"the controller at %s cannot be reached: %s", c.at, root(err))
}

func (c *Client) down(hint, format string, args ...any) error {
	e := cli.Fail(c.daemon+"-unreachable", hint, format, args...)
	e.Exit = cli.ExitDown
	return e
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, os.ErrDeadlineExceeded)
}

// root is the innermost message of an error, without the URL and the addresses that net/http and net add.
func root(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
