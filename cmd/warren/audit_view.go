package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// An auditView writes entries as they come: a line for each, but only one for hosts that announce their keys
// of the same generation one after the other.
type auditView struct {
	a      *app
	page   *cli.Page
	width  int // of WHO
	titled bool
	keys   announcement
}

// An announcement is a run of hosts that announce their keys of a generation.
type announcement struct {
	generation peers.Generation
	hosts      []string
	last       wire.AuditEntry
}

// minWho is the least width of WHO: entries come one by one, and the columns shall not move.
const minWho = 16

func newAuditView(a *app) *auditView { return &auditView{a: a, page: a.page(), width: minWho} }

// show writes entries; end says that nothing follows for now.
func (v *auditView) show(entries []wire.AuditEntry, end bool) error {
	for i := range entries {
		if v.a.format == cli.JSON {
			if err := cli.WriteJSONLine(v.a.proc.Stdout, &entries[i]); err != nil {
				return err
			}
			continue
		}
		v.add(&entries[i])
	}
	if end {
		v.announced()
	}
	return nil
}

func (v *auditView) add(e *wire.AuditEntry) {
	host, g, ok := e.Announced()
	if !ok || g != v.keys.generation {
		v.announced()
	}
	if ok {
		v.keys.generation, v.keys.last = g, *e
		v.keys.hosts = append(v.keys.hosts, host)
		return
	}
	v.entry(e)
}

// announced writes the run of hosts, if there is one.
func (v *auditView) announced() {
	hosts, last := v.keys.hosts, v.keys.last
	slices.Sort(hosts)
	switch hosts = slices.Compact(hosts); len(hosts) {
	case 0:
		return
	case 1:
		v.entry(&last)
	default:
		v.line(last.At, "hosts", fmt.Sprintf("%d hosts announce their keys of generation %d: %s",
			len(hosts), v.keys.generation, shortened(hosts)))
	}
	v.keys = announcement{}
}

// shortened names some of many.
func shortened(names []string) string {
	const most = 8
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func (v *auditView) entry(e *wire.AuditEntry) {
	what := e.What
	if e.Why != "" {
		what += fmt.Sprintf("  (%s)", e.Why)
	}
	v.line(e.At, e.By, what)
}

func (v *auditView) line(at time.Time, by, what string) {
	stamp := at.UTC().Format(time.RFC3339)
	if !v.titled {
		v.titled = true
		v.columns(cli.Dim, fmt.Sprintf("%-*s", len(stamp), "TIME"), "WHO", "WHAT")
	}
	v.columns(cli.Plain, stamp, by, what)
}

func (v *auditView) columns(tone cli.Tone, stamp, by, what string) {
	by = cli.Clean(by)
	v.width = max(v.width, utf8.RuneCountInString(by))
	by += strings.Repeat(" ", v.width-utf8.RuneCountInString(by))
	fmt.Fprintf(v.page.W, "%s  %s  %s\n", v.page.Paint(cli.Dim, stamp), v.page.Paint(tone, by), v.page.Paint(tone, what))
}
