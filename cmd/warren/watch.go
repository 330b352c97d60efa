package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/warren/client"
	"github.com/warren-mesh/warren/peers/wire"
)

// What a terminal does with --watch (ECMA-48 CUP, EL, ED; DECAWM and the alternate screen of xterm): it
// shows the frames on a screen of their own, cuts long lines, and every frame overwrites the one before
// line by line, so that nothing flickers.
const (
	enterScreen = "\x1b[?1049h\x1b[?7l"
	leaveScreen = "\x1b[?7h\x1b[?1049l"
	home        = "\x1b[H"
	clearRest   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

var errStdout = errors.New("cannot write to stdout")

// watch shows the status again and again. An agent that is away, as while it is restarted, is shown too
// and does not end it; only the user does.
func (a *app) watch(ctx context.Context, agent *client.Client) error {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	out := a.proc.Stdout
	last := ""
	if cli.IsTerminal(out) && a.format == cli.Table {
		fmt.Fprint(out, enterScreen)
		// What was last seen stays on the screen that the user comes back to.
		defer func() { fmt.Fprint(out, leaveScreen, last) }()
	}
	for {
		s, err := readStatus(ctx, agent)
		if ctx.Err() != nil {
			return nil
		}
		if last, err = a.frame(s, err); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// frame shows one status of many, or why there is none, and returns it as text.
func (a *app) frame(s *wire.Status, failed error) (string, error) {
	if a.format == cli.JSON {
		if failed != nil {
			return "", cli.WriteErrorLine(a.proc.Stdout, failed)
		}
		return "", cli.WriteJSONLine(a.proc.Stdout, s)
	}
	var b strings.Builder
	page := a.page()
	page.W = &b
	if failed != nil {
		cli.TellError(page, "warren", failed)
	} else {
		viewStatus(page, s)
	}
	text := b.String()
	shown := text + "\n"
	if cli.IsTerminal(a.proc.Stdout) {
		shown = home + strings.ReplaceAll(clip(text, cli.Height(a.proc.Stdout)), "\n", clearRest+"\n") + clearBelow
	}
	if _, err := io.WriteString(a.proc.Stdout, shown); err != nil {
		return text, errStdout
	}
	return text, nil
}

// clip cuts text to what a terminal has room for: the cursor needs the last line.
func clip(text string, lines int) string {
	parts := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	if len(parts) < lines {
		return text
	}
	kept := max(1, lines-2)
	return strings.Join(parts[:kept], "") + fmt.Sprintf("… %d more lines: warren status\n", len(parts)-kept)
}
