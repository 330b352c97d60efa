package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/warren/client"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// With --follow: how long the controller waits for the next change, and how long this program does before
// it asks again a controller that did not answer.
const (
	followWait  = 20 * time.Second
	followAgain = time.Second
)

func (a *app) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", Short: "Who changed what, when and why",
		Long: `Who changed what, when and why.

Every change of the mesh is an entry of the controller's ledger, and each entry has the hash of the one
before it: nobody can change the past without a trace. Secrets are never in it.`,
		Example: "  warren audit log",
	}
	cmd.AddCommand(a.auditLog(), a.auditVerify())
	return cmd
}

func (a *app) auditLog() *cobra.Command {
	since, follow := "", false
	cmd := &cobra.Command{
		Use: "log", Short: "Tell the history of the mesh", Args: cli.Args(),
		Long: `Tell the history of the mesh, the oldest change first.

T is a time (2026-11-23T18:00:00Z), a day (2026-11-23) or a span back from now (90m, 36h, 7d). With -o json
every entry is one line of JSON, with the objects that it changed before and after, as they were hashed.`,
		Example: "  warren audit log --since 7d\n  warren audit log --follow\n" +
			"  warren audit log -o json | jq -r 'select(.kind == \"host.state\") | .by + \": \" + .what'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := parseSince(since, a.now())
			if err != nil {
				return err
			}
			c, err := a.admin(cmd)
			if err != nil {
				return err
			}
			r := reader{a: a, controller: c, since: from, follow: follow}
			return r.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "leave out what is older than `T`")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens from now on, until interrupted")
	return cmd
}

// parseSince reads a time, a day or a span back from now; the zero time where there is none.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			return t, nil
		}
	}
	if d, err := peers.ParseSpan(s); err == nil {
		return now.Add(-d), nil
	}
	return time.Time{}, cli.Usage("for instance: --since 7d, --since 2026-11-23 or --since 2026-11-23T18:00:00Z",
		"--since %.40q is no time and no span", s)
}

// A reader reads the audit log page by page.
type reader struct {
	a          *app
	controller *client.Client
	since      time.Time
	follow     bool
	after      peers.Revision
	silent     bool // the controller did not answer, which has been told
}

func (r *reader) run(ctx context.Context) error {
	view := newAuditView(r.a)
	for {
		page, err := r.page(ctx)
		if ctx.Err() != nil && r.follow {
			return nil
		}
		if err == nil && page.Next < r.after {
			err = cli.Fail("bad-answer", "compare the versions: warren version, warren-controller --version",
				"the controller goes back to revision %d", page.Next)
		}
		if err != nil {
			if err = r.again(ctx, err); err != nil {
				return err
			}
			continue
		}
		r.silent, r.after = false, page.Next
		end := page.Next >= page.Head
		if err := view.show(page.Entries, end); err != nil {
			return err
		}
		if end && !r.follow {
			return nil
		}
	}
}

func (r *reader) page(ctx context.Context) (page wire.AuditPage, err error) {
	query := url.Values{"after": {strconv.FormatUint(uint64(r.after), 10)}}
	if !r.since.IsZero() {
		query.Set("since", r.since.UTC().Format(time.RFC3339Nano))
	}
	if r.follow {
		query.Set("wait", strconv.Itoa(int(followWait/time.Second)))
	}
	err = r.controller.Call(ctx, http.MethodGet, wire.PathAudit+"?"+query.Encode(), nil, &page)
	return page, err
}

// again waits a moment where the user wants to go on and the controller is only away; any other error ends.
func (r *reader) again(ctx context.Context, err error) error {
	var told *cli.Error
	if !r.follow || r.after == 0 || !errors.As(err, &told) || told.Exit != cli.ExitDown {
		return err
	}
	if !r.silent {
		r.silent = true
		r.a.notes().Line("%s; waiting for it", told.Message)
	}
	timer := time.NewTimer(followAgain)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

func (a *app) auditVerify() *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Verify the history from its first entry on", Args: cli.Args(),
		Long: `Verify the history from its first entry on: every hash, every change by the rules, and that they add up to
the state which the controller works with. The first entry that is not right is named.

Whoever can replace the whole database can also replace the whole history. Keep the revision and the hash that
this prints somewhere else; what was verified once must be in the log ever after. Exit codes: 0 all is right,
1 it is not.`,
		Example: "  warren audit verify\n  warren audit verify -o json | jq -r .hash",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.admin(cmd)
			if err != nil {
				return err
			}
			return a.verify(cmd.Context(), c)
		},
	}
}

// verified is the outcome of a verification, for scripts.
type verified struct {
	Revision peers.Revision `json:"revision"`
	Hash     peers.Hash     `json:"hash"`
	Verified bool           `json:"verified"`
}

func (a *app) verify(ctx context.Context, c *client.Client) error {
	for p, err := range client.Stream[wire.AuditProgress](ctx, c, http.MethodGet, wire.PathAuditVerify, nil) {
		switch {
		case err != nil:
			return err
		case p.Fault != nil:
			return brokenAt(&p)
		case p.Done:
			return a.show(verified{p.Revision, p.Hash, true}, func(page *cli.Page) {
				page.Line("The history is right: %d entries, from the first to revision %d.", p.Revision, p.Revision)
				page.Line("hash  %s", p.Hash.String())
			})
		}
		a.notes().Line("verified %d of %d entries", p.Revision, p.Head)
	}
	return c.Ended()
}

// brokenAt names the entry that is not right.
func brokenAt(p *wire.AuditProgress) error {
	at := strconv.FormatUint(uint64(p.Revision)+1, 10)
	if len(p.Fault.Problems) > 0 {
		at = strings.TrimPrefix(p.Fault.Problems[0].At, "revision/")
	}
	return cli.Fail(p.Fault.Code, p.Fault.Hint, "the history is not right at revision %s: %s", at, p.Fault.Detail)
}
