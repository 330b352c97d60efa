package main

import (
	"fmt"
	"strings"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

func viewPolicy(p *cli.Page, v *wire.PolicyView) {
	if v.Policy == nil {
		p.Line("There is no policy: everybody in the mesh may talk to everybody (allow-all).")
		p.Line("To say who may talk to whom: warren policy apply FILE")
		return
	}
	var rows [][]any
	for i, f := range v.Policy.Flows {
		rows = append(rows, []any{i + 1, spaced(f.From), spaced(f.To), spaced(f.Allow)})
	}
	p.Grid([]string{"FLOW", "FROM", "TO", "ALLOW"}, rows)
	if len(rows) == 0 {
		p.Line("No flow is allowed: nobody may talk to anybody.")
	}
	if len(v.Policy.Tests) > 0 {
		p.Title("Tests", "")
		rows = nil
		for _, t := range v.Policy.Tests {
			rows = append(rows, []any{t.From, t.To, t.Proto, t.Expect})
		}
		p.Grid([]string{"FROM", "TO", "PROTO", "EXPECT"}, rows)
	}
	viewWarnings(p, v.Warnings, v.Unenforced)
}

func viewPolicyResult(p *cli.Page, r *wire.PolicyResult) {
	viewConsequences(p, &r.Consequences)
	p.Line("")
	if r.Applied {
		p.Line("The policy is in force since revision %d.", r.Revision)
		viewToConfirm(p, r.Pending)
		return
	}
	p.Line("Nothing was changed. To do it: warren policy apply FILE")
}

func tidyConsequences(r *wire.Consequences) {
	r.Flows, r.Hosts, r.CutOff = listed(r.Flows), listed(r.Hosts), listed(r.CutOff)
	r.Warnings, r.Unenforced = listed(r.Warnings), listed(r.Unenforced)
}

// viewConsequences tells what a change opens and closes, whom that concerns, and who is left alone.
func viewConsequences(p *cli.Page, r *wire.Consequences) {
	viewFlowChanges(p, r.Flows, r.Hosts, r.CutOff)
	viewWarnings(p, r.Warnings, r.Unenforced)
}

// viewFlowChanges tells what a change opens and closes, and whom that concerns.
func viewFlowChanges(p *cli.Page, flows []peers.FlowChange, hosts, cutOff []string) {
	var rows [][]any
	for _, f := range flows {
		from, to := names(f.From), names(f.To)
		if len(f.Opens) > 0 {
			rows = append(rows, []any{cli.Cell{Text: "opens", Tone: cli.Good}, from, to, spaced(f.Opens)})
		}
		if len(f.Closes) > 0 {
			what := spaced(f.Closes)
			if len(f.Keeps) > 0 {
				what += " but " + spaced(f.Keeps)
			}
			rows = append(rows, []any{cli.Cell{Text: "closes", Tone: cli.Bad}, from, to, what})
		}
	}
	if len(rows) == 0 {
		p.Line("No flow opens or closes.")
	} else {
		p.Grid([]string{"CHANGE", "FROM", "TO", "WHAT"}, rows)
		p.Line("")
		p.Line("%d hosts are concerned: %s", len(hosts), names(hosts))
	}
	if len(cutOff) > 0 {
		p.Line("%s", p.Paint(cli.Bad, fmt.Sprintf("Left without any peer: %s", names(cutOff))))
	}
}

func viewWarnings(p *cli.Page, warnings []peers.Problem, unenforced []string) {
	if len(warnings)+len(unenforced) == 0 {
		return
	}
	p.Title("Warnings", "")
	p.Problems(warnings)
	if len(unenforced) > 0 {
		p.Problems([]peers.Problem{{
			Code: "policy-unknown", Hint: "upgrade warren-agent on them",
			Message: "agents too old to know policies let in whatever their peers send: " + strings.Join(unenforced, ", "),
		}})
	}
}

// names are a few of a list, and how many more there are.
func names(list []string) string {
	const most = 8
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

func spaced[T fmt.Stringer](list []T) string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.String()
	}
	return strings.Join(out, " ")
}
