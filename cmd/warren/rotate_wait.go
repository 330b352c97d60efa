package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/warren/client"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

const (
	waitEvery = 300 * time.Millisecond
	// onlyOffline is for how long nobody but hosts that are offline must have been waited for, until the
	// wait ends: what is under way takes some seconds to arrive.
	onlyOffline = 8 * time.Second
)

// A rotationWait watches a rotation until it is over.
type rotationWait struct {
	a       *app
	page    *cli.Page // stderr
	live    bool      // stderr is a terminal: the same line is written again and again
	to      peers.Generation
	last    string    // what was shown
	offline time.Time // since when only hosts that are offline are waited for; zero for not
}

// waitFor shows how a rotation goes, and its summary. Who interrupts it leaves the rotation running.
func (a *app) waitFor(ctx context.Context, c *client.Client, v *wire.RotationView) error {
	w := rotationWait{a: a, page: a.notes(), live: cli.IsTerminal(a.proc.Stderr), to: v.Generation}
	tick := time.NewTicker(waitEvery)
	defer tick.Stop()
	for {
		if w.over(v) {
			w.clear()
			return w.summary(v)
		}
		w.show(v)
		select {
		case <-ctx.Done():
			w.clear()
			return cli.Fail("interrupted", "warren rotate status", "stopped waiting; the rotation goes on")
		case <-tick.C:
		}
		var next wire.RotationView
		switch err := c.Call(ctx, http.MethodGet, wire.PathRotation, nil, &next); {
		case err == nil:
			v = &next
		case ctx.Err() == nil && !isDown(err):
			w.clear()
			return err
		}
	}
}

// isDown tells a controller that is away, as while it is restarted, from one that refuses.
func isDown(err error) bool {
	var told *cli.Error
	return errors.As(err, &told) && told.Exit == cli.ExitDown
}

// over reports whether there is nothing to wait for any more, but hosts that are offline.
func (w *rotationWait) over(v *wire.RotationView) bool {
	if v.Previous == nil || v.Generation != w.to {
		return true
	}
	waiting := len(v.Waiting) > 0 && v.Pairs.Switched == v.Pairs.Proven
	for _, host := range v.Waiting {
		waiting = waiting && host.Code == peers.WaitOffline
	}
	switch {
	case !waiting:
		w.offline = time.Time{}
	case w.offline.IsZero():
		w.offline = w.a.now()
	}
	return waiting && w.a.now().Sub(w.offline) >= onlyOffline
}

// show tells what is new, on a terminal in the line before.
func (w *rotationWait) show(v *wire.RotationView) {
	text := fmt.Sprintf("%s  %d of %d pairs proven, %d switched, %d retired", phase(v.Phase),
		v.Pairs.Proven, v.Pairs.Total, v.Pairs.Switched, v.Pairs.Retired)
	var waiting []string
	for _, host := range v.Waiting {
		waiting = append(waiting, fmt.Sprintf("%s (%s)", host.Host, host.Reason))
	}
	if len(waiting) > 0 {
		text += "; waiting for " + shortened(waiting)
	}
	if text == w.last {
		return
	}
	w.last = text
	if !w.live {
		w.page.Line("%s", text)
		return
	}
	fmt.Fprintf(w.page.W, "\r\x1b[K%s", cli.Clean(clipLine(text, cli.Width(w.a.proc.Stderr))))
}

// clipLine cuts a line to what a terminal has room for: one that wraps cannot be written over.
func clipLine(text string, width int) string {
	if letters := []rune(text); len(letters) >= width {
		return string(letters[:max(0, width-2)]) + "…"
	}
	return text
}

// clear takes the line away.
func (w *rotationWait) clear() {
	if w.live && w.last != "" {
		_, _ = io.WriteString(w.page.W, clearLine)
	}
}

// summary ends the wait. It says what was done and who is not part of it.
func (w *rotationWait) summary(v *wire.RotationView) error {
	v.Waiting = listed(v.Waiting)
	err := w.a.show(v, func(p *cli.Page) {
		if v.Previous != nil {
			viewRotation(p, v)
			return
		}
		if v.Generation < w.to {
			p.Line("The rotation to generation %d was given up: all hosts keep the keys of generation %d.", w.to, v.Generation)
			return
		}
		end := v.Last
		if end == nil || end.Generation != w.to {
			p.Line("All hosts are on generation %d.", v.Generation)
			return
		}
		took := time.Duration(end.Took * float64(time.Second)).Round(100 * time.Millisecond)
		tunnels := "and no pair of hosts lost its tunnel"
		if end.Cut > 0 {
			tunnels = fmt.Sprintf("and pairs of hosts that had not moved have no tunnel: %d", end.Cut)
		}
		p.Line("All traffic is on generation %d, after %v: %d hosts have new keys, the old ones are gone, %s.",
			end.Generation, took, end.Keys, tunnels)
		if len(end.Behind) > 0 {
			p.Line("Left behind, until they announce a key: %s", strings.Join(end.Behind, ", "))
		}
	})
	switch {
	case err == nil && v.Previous != nil:
		return cli.Exit(cli.ExitDegraded)
	case err == nil && v.Generation < w.to:
		return cli.Exit(cli.ExitFailed)
	}
	return err
}
