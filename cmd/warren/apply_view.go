package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/wire"
)

// viewChanges shows what differs before and after, and what that means to hosts.
func viewChanges(p *cli.Page, r *wire.DeclaredResult) {
	if len(r.Changes) == 0 {
		p.Line("Nothing differs.")
		return
	}
	var rows [][]any
	for _, c := range r.Changes {
		what := cli.Cell{Text: c.What, Tone: map[string]cli.Tone{"made": cli.Good, "removed": cli.Bad}[c.What]}
		object := strings.Replace(c.Object, "/", " ", 1)
		if len(c.Fields) == 0 {
			rows = append(rows, []any{what, object, "", "", ""})
		}
		for _, f := range c.Fields {
			rows = append(rows, []any{what, object, f.Name, f.Before, f.After})
		}
	}
	p.Grid([]string{"CHANGE", "OBJECT", "FIELD", "BEFORE", "AFTER"}, rows)
	p.Title("Flows", "")
	viewConsequences(p, &r.Consequences)
	p.Line("")
}

func viewApplied(p *cli.Page, r *wire.DeclaredResult) {
	viewChanges(p, r)
	switch {
	case len(r.Changes) == 0:
	case r.Applied:
		p.Line("It holds since revision %d.", r.Revision)
		viewToConfirm(p, r.Pending)
	default:
		p.Line("Nothing was changed. To do it, leave --dry-run away.")
	}
}

// viewToConfirm says that a change is taken back unless somebody confirms it.
func viewToConfirm(p *cli.Page, pending *wire.Pending) {
	if pending != nil {
		p.Line("%s", p.Paint(cli.Warn, fmt.Sprintf("It is taken back in %s, at %s, unless you say: warren apply --confirm",
			left(pending), pending.Until.UTC().Format(time.RFC3339))))
	}
}

func left(pending *wire.Pending) string {
	return cli.Span(time.Duration(pending.Left * float64(time.Second)))
}

// viewPending tells of the change that waits to be confirmed: what it is, whose, until when, and how it ends.
func viewPending(p *cli.Page, pending *wire.Pending) {
	if pending == nil {
		return
	}
	p.Title("A change waits to be confirmed", "")
	p.Fields(
		cli.F("revision", "%d, made %s", pending.Revision, cli.Ago(p.Now, pending.Since)),
		cli.F("by", "%s", pending.By),
		cli.F("changes", "%s", names(pending.Objects)),
		cli.Field{Name: "taken back", Value: cli.Cell{
			Tone: cli.Warn, Text: fmt.Sprintf("in %s, at %s", left(pending), pending.Until.UTC().Format(time.RFC3339)),
		}},
		cli.F("to let it stay", "warren apply --confirm"),
		cli.F("to end it now", "warren apply --revert"),
	)
}
