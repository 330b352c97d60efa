// Package client calls the HTTP APIs of the agent and the controller, over their unix sockets or over
// pinned TLS. Its errors are those that people shall see: each says who could not be reached, or what
// the other end refused, and what helps.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	dialTimeout = 5 * time.Second
	callTimeout = 30 * time.Second
	maxAnswer   = 64 << 20 // bytes; the list of 10,000 hosts is about 10 MB
)

// A Client calls one daemon. It may be used by several goroutines at once.
type Client struct {
	daemon string // "agent" or "controller"
	at     string // where, as the user wrote it
	base   string // of URLs
	http   *http.Client
}

// Unix makes a client of the daemon that listens on a unix socket.
func Unix(daemon, path string) *Client {
	var d net.Dialer
	return newClient(daemon, path, "http://"+daemon, &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", path)
		},
	})
}

func newClient(daemon, at, base string, t *http.Transport) *Client {
	t.DisableCompression = true
	t.MaxIdleConnsPerHost = 1
	return &Client{daemon: daemon, at: at, base: base, http: &http.Client{Transport: t}}
}

// Call sends in, unless it is nil, as JSON and decodes the answer into out, unless that is nil. What the
// daemon refuses is a *wire.Fault.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return c.garbled(ctx, err)
	}
	return nil
}

// Copy writes an answer as it comes, which is no JSON.
func (c *Client) Copy(ctx context.Context, w io.Writer, path string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return c.garbled(ctx, err)
	}
	return nil
}

// send does the request; an answer that is no success is an error already.
func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %v", path, err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %v", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer resp.Body.Close()
		return nil, c.refused(resp)
	}
	return resp, nil
}

// refused is the Fault that came with an answer; whatever else came is described.
func (c *Client) refused(resp *http.Response) error {
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	f := &wire.Fault{}
	if err == nil && media == wire.MediaProblem {
		err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(f)
	}
	if err != nil || f.Detail == "" {
		return cli.Fail("bad-answer", c.versionHint(), "the %s at %s answered %s, and not why", c.daemon, c.at, resp.Status)
	}
	return f
}

func (c *Client) garbled(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return c.unreachable(ctx, err)
	}
	return cli.Fail("bad-answer", c.versionHint(),
		"the %s at %s sent an answer that is not understood: %v", c.daemon, c.at, err)
}

func (c *Client) versionHint() string {
	return "compare the versions: warren version, warren-" + c.daemon + " --version"
}
