package main

import (
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// scheduleFlags are those of warren rotate schedule.
type scheduleFlags struct {
	every   string
	windows []string
	catchUp bool
	off     bool
}

func (a *app) rotateSchedule() *cobra.Command {
	var f scheduleFlags
	cmd := &cobra.Command{
		Use: "schedule", Short: "Rotate by itself, again and again", Args: cli.Args(),
		Long: `Rotate by itself, again and again. Without flags, show the schedule and when the next rotation begins.

A window says on which days, from when to when and in which time zone a rotation may begin. Without a zone it is
UTC, without days it is every day, and a window may go on after midnight. There may be several. The next rotation
is in the first window after the time from one to the next is over. One that was missed, because the controller was
down or the rotation before was not over, is left to the next window, or begins at once with --catch-up. The keys
of a rotation that somebody begins by hand count like all others. No two rotations run at the same time.`,
		Example: "  warren rotate schedule --every 30d --window \"Sun 02:00-04:00 Europe/Berlin\"\n" +
			"  warren rotate schedule --every 7d --window \"Mon-Thu 22:00-05:00 Europe/Berlin\" --catch-up\n" +
			"  warren rotate schedule\n  warren rotate schedule --off",
		RunE: func(cmd *cobra.Command, _ []string) error {
			method, order, err := f.request()
			if err != nil {
				return err
			}
			var v wire.ScheduleView
			if err := a.call(cmd, method, wire.PathSchedule, order, &v); err != nil {
				return err
			}
			v.Problems = listed(v.Problems)
			return a.show(v, func(p *cli.Page) { viewSchedule(p, &v) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.every, "every", "", "how `LONG` from one rotation to the next: 30d, 12h")
	flags.StringArrayVar(&f.windows, "window", nil, "when one may begin, `\"[DAYS] HH:MM-HH:MM [ZONE]\"`; may be given again")
	flags.BoolVar(&f.catchUp, "catch-up", false, "begin at once what was missed")
	flags.BoolVar(&f.off, "off", false, "rotate no more by itself")
	return cmd
}

// request is the method and the body that the flags ask for.
func (f *scheduleFlags) request() (method string, order any, err error) {
	const hint = "warren rotate schedule --help"
	set := f.every != "" || len(f.windows) > 0 || f.catchUp
	switch {
	case f.off && set:
		return "", nil, cli.Usage(hint, "--off goes with no other flag")
	case f.off:
		return http.MethodDelete, nil, nil
	case !set:
		return http.MethodGet, nil, nil
	case f.every == "":
		return "", nil, cli.Usage("for instance: --every 30d", "--window and --catch-up need --every")
	}
	every, err := peers.ParseSpan(f.every)
	if err != nil {
		return "", nil, cli.Usage("for instance: --every 30d", "--every %.40q: %v", f.every, err)
	}
	for _, text := range f.windows {
		if _, err := peers.ParseWindow(text); err != nil {
			return "", nil, cli.Usage(`for instance: --window "Sun 02:00-04:00 Europe/Berlin"`, "%v", err)
		}
	}
	return http.MethodPut, wire.ScheduleOrder{
		Every: int64(every / time.Second), Windows: f.windows, CatchUp: f.catchUp,
	}, nil
}

func viewSchedule(p *cli.Page, v *wire.ScheduleView) {
	schedule := cli.Cell{Text: "none: keys are rotated when somebody says so", Tone: cli.Warn}
	if s := v.Schedule; s != nil {
		words := []string{"every " + peers.FormatSpan(time.Duration(s.Every)*time.Second)}
		words = append(words, s.Windows...)
		if s.CatchUp {
			words = append(words, "catching up")
		}
		schedule = cli.Cell{Text: strings.Join(words, ", ")}
	}
	fields := []cli.Field{{Name: "schedule", Value: schedule}}
	if v.Next != nil {
		fields = append(fields, cli.F("next", "%s, %s", v.Next.UTC().Format(time.RFC3339), cli.Until(p.Now, *v.Next)))
	}
	age := time.Duration(v.KeyAge * float64(time.Second))
	p.Fields(append(fields, cli.F("keys", "generation %d, %s old", v.Generation, cli.Span(age)))...)
	if len(v.Problems) > 0 {
		p.Title("Problems", "")
		p.Problems(v.Problems)
	}
}
