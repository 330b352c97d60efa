package repo

import (
	"slices"
	"testing"
)

// A rule is what every source must keep to.
type rule struct {
	name   string
	reason string
	check  func(source) []finding
}

// rules are the rules that one file at a time can be held to.
func rules() []rule {
	return []rule{
		{"formatted", "a diff shows what changed and nothing else; run `make fmt`", formatted},
		{"exported names documented", "the comment says what the signature cannot", documented},
		{"no init", "what runs before main cannot fail, be ordered or be tested", noInit},
		{"no sleep", "a sleep is too long on a fast machine and too short on a slow one: " +
			"wait for the condition, or use testing/synctest", noSleep},
		{"no package variables", "state that nobody owns: hand it in. Sentinel errors and patterns are fine; what only " +
			"is a variable because Go has no constants of its type goes on the list of immutable tables", noVariables},
		{"small interfaces", "one of more than four methods gets no second implementation and no fake", smallInterfaces},
		{"short main.go", "main wires, run works", shortMain},
		{"no clock in peers", "the same inventory gives the same plan at any time: take the time as an argument", noClock},
		{"honest names", "Get says nothing, and a Manager is a place where things end up", honestNames},
		{"nothing put off", "a note to oneself is an issue, and a finding of a linter is mended", nothingPutOff},
	}
}

func TestSources(t *testing.T) {
	sources := checkout(t)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			for _, s := range sources {
				for _, f := range r.check(s) {
					t.Errorf("%v (%s)", f, r.reason)
				}
			}
		})
	}
}

// TestSourcesPlanted shows every rule what it must find, and what it must leave alone.
func TestSourcesPlanted(t *testing.T) {
	for _, r := range rules() {
		cases := planted()[r.name]
		if !slices.ContainsFunc(cases, func(c plantedCase) bool { return len(c.lines) > 0 }) {
			t.Errorf("rule %q has no planted violation", r.name)
		}
		for _, c := range cases {
			t.Run(r.name+"/"+c.name, func(t *testing.T) {
				var lines []int
				for _, f := range r.check(plant(t, c.path, c.text)) {
					lines = append(lines, f.line)
				}
				if !slices.Equal(lines, c.lines) {
					t.Errorf("found lines %v, want %v in:\n%s", lines, c.lines, c.text)
				}
			})
		}
	}
}
