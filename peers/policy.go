package peers

import (
	"fmt"
	"slices"
)

// Limits of a policy.
const (
	maxFlows     = 5000
	maxSelectors = 200 // on one side of a flow
	maxServices  = 200 // of a flow
	maxTests     = 5000
	maxLabels    = 32
)

// A Policy says who may talk to whom, and on what. What no flow allows is not allowed. A mesh without a
// policy allows everything.
type Policy struct {
	Flows []Flow     `json:"flows"`
	Tests []FlowTest `json:"tests,omitempty"`
}

// A Flow lets what From selects open connections to what To selects. Answers are allowed by themselves.
type Flow struct {
	From  []Selector `json:"from"`
	To    []Selector `json:"to"`
	Allow []Service  `json:"allow"`
}

// A FlowTest says what the policy must come to. It is checked when a policy is written, and never after.
type FlowTest struct {
	From   Selector   `json:"from"`
	To     Selector   `json:"to"`
	Proto  Service    `json:"proto"`
	Expect TestExpect `json:"expect"`
}

// A TestExpect is what a FlowTest expects.
type TestExpect string

// What a FlowTest may expect.
const (
	ExpectAllow TestExpect = "allow"
	ExpectDeny  TestExpect = "deny"
)

// String is the flow in one line.
func (f *Flow) String() string {
	return fmt.Sprintf("%s → %s %s", words(f.From), words(f.To), words(f.Allow))
}

// String is the test in one line.
func (t *FlowTest) String() string {
	return fmt.Sprintf("%v → %v %v %s", t.From, t.To, t.Proto, t.Expect)
}

// words puts a list as it is written in a policy: one alone, several in brackets.
func words[T fmt.Stringer](list []T) string {
	if len(list) == 1 {
		return list[0].String()
	}
	return fmt.Sprint(list)
}

// clone is a copy that shares nothing.
func (p *Policy) clone() *Policy {
	out := &Policy{Flows: slices.Clone(p.Flows), Tests: slices.Clone(p.Tests)}
	for i := range out.Flows {
		f := &out.Flows[i]
		f.From, f.To, f.Allow = slices.Clone(f.From), slices.Clone(f.To), slices.Clone(f.Allow)
	}
	return out
}

// covers reports whether f allows all that other does, as far as the two tell by themselves.
func (f *Flow) covers(other *Flow) bool {
	return allCovered(f.From, other.From, Selector.covers) && allCovered(f.To, other.To, Selector.covers) &&
		allCovered(f.Allow, other.Allow, Service.covers)
}

func allCovered[T any](by, list []T, covers func(a, b T) bool) bool {
	for _, b := range list {
		if !slices.ContainsFunc(by, func(a T) bool { return covers(a, b) }) {
			return false
		}
	}
	return true
}
