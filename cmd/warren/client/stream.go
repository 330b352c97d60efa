package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"

	"github.com/warren-mesh/warren/cmd/internal/cli"
)

// Stream sends in and yields what comes back, one JSON value after the other, until the daemon ends the
// stream, something fails or the context ends. After an error nothing more is yielded.
func Stream[T any](ctx context.Context, c *Client, method, path string, in any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // also ends a stream that the caller has had enough of
		resp, err := c.send(ctx, method, path, in)
		if err != nil {
			yield(none, err)
			return
		}
		defer resp.Body.Close()
		dec := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
		for {
			var v T
			err := dec.Decode(&v)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(none, c.broken(ctx, err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// broken tells a daemon that went away in the middle of a stream from one that talks nonsense.
func (c *Client) broken(ctx context.Context, err error) error {
	var syntax *json.SyntaxError
	var shape *json.UnmarshalTypeError
	if errors.As(err, &syntax) || errors.As(err, &shape) {
		return c.garbled(ctx, err)
	}
	return c.unreachable(ctx, err)
}

// Ended is the error for a stream that ended before it was complete.
func (c *Client) Ended() error {
	return &cli.Error{
		Exit: cli.ExitDown, Code: c.daemon + "-gone",
		Message: "the " + c.daemon + " ended the conversation before it was through",
		Remedy:  "see why: journalctl -u warren-" + c.daemon + " -n 20",
	}
}
