package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers/wire"
)

// Results of the doctor's checks, the worst last.
const (
	checkSkipped = "skipped"
	checkOK      = "ok"
	checkWarning = "warning"
	checkFailed  = "failed"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look for known causes of trouble", Args: cli.Args(),
		Long: `Look for known causes of trouble on this host, and name the remedy. Where systemd runs, the units of the
daemons are held against the ones of the packages, too.

Exit codes: 0 nothing found, 1 something is broken, 3 there are warnings, 4 the agent does not run.`,
		Example: "  warren doctor\n  warren doctor -o json | jq '.[] | select(.result == \"failed\")'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var findings []wire.Finding
			if err := a.agent(cmd).Call(cmd.Context(), http.MethodGet, wire.PathDoctor, nil, &findings); err != nil {
				return err
			}
			findings = append(findings, units(cmd.Context())...)
			if err := a.show(listed(findings), func(p *cli.Page) { viewFindings(p, findings) }); err != nil {
				return err
			}
			return worst(findings)
		},
	}
}

func worst(findings []wire.Finding) error {
	count := countResults(findings)
	switch {
	case count[checkFailed] > 0:
		return cli.Exit(cli.ExitFailed)
	case count[checkWarning] > 0:
		return cli.Exit(cli.ExitDegraded)
	}
	return nil
}

func countResults(findings []wire.Finding) map[string]int {
	count := map[string]int{}
	for _, f := range findings {
		count[f.Result]++
	}
	return count
}

func viewFindings(p *cli.Page, findings []wire.Finding) {
	tones := map[string]cli.Tone{checkOK: cli.Good, checkWarning: cli.Warn, checkFailed: cli.Bad, checkSkipped: cli.Dim}
	width := 0
	for _, f := range findings {
		width = max(width, len(f.Check))
	}
	for _, f := range findings {
		result := p.Paint(tones[f.Result], fmt.Sprintf("%-7s", f.Result))
		fmt.Fprintf(p.W, "%s  %-*s  %s\n", result, width, cli.Clean(f.Check), cli.Clean(f.Message))
		if f.Hint != "" {
			fmt.Fprintf(p.W, "%-*s%s %s\n", 9+width+2, "", p.Paint(cli.Dim, "hint:"), cli.Clean(f.Hint))
		}
	}
	count := countResults(findings)
	p.Line("")
	p.Line("%d checks: ok %d, warning %d, failed %d, skipped %d",
		len(findings), count[checkOK], count[checkWarning], count[checkFailed], count[checkSkipped])
}
