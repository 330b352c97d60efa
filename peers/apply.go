package peers

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits of a change that holds others.
const (
	maxOps    = 20000
	maxTold   = 20               // operations in the words for an entry
	minWithin = 10 * time.Second // to type the confirmation
	maxWithin = 24 * time.Hour
)

// Ops are operations that are done one after the other. In JSON each of them is an object with its kind.
type Ops []Op

type opJSON struct {
	Kind string          `json:"kind"`
	Op   json.RawMessage `json:"op"`
}

// MarshalJSON writes the operations with their kinds.
func (ops Ops) MarshalJSON() ([]byte, error) {
	out := make([]opJSON, len(ops))
	for i, op := range ops {
		raw, err := json.Marshal(op)
		if err != nil {
			return nil, err
		}
		out[i] = opJSON{op.Kind(), raw}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes, as strictly as the ledger is read.
func (ops *Ops) UnmarshalJSON(raw []byte) error {
	var list []opJSON
	if err := strictUnmarshal(raw, &list); err != nil {
		return err
	}
	out := make(Ops, len(list))
	for i, one := range list {
		if one.Kind == (Apply{}).Kind() { // never written: see applicable
			return fmt.Errorf("a change of kind %q within another one", one.Kind)
		}
		op, err := decodeOp(one.Kind, one.Op)
		if err != nil {
			return err
		}
		out[i] = op
	}
	*ops = out
	return nil
}

// Apply does several operations as one change: all of them, or none.
type Apply struct {
	Ops Ops `json:"ops"`
	// Within is after how many seconds the change is taken back unless it is confirmed; 0 for never.
	Within int `json:"within,omitempty"`
}

// Kind is "apply".
func (Apply) Kind() string { return "apply" }

// applicable reports whether an operation may be one of several: those can be taken back.
func applicable(op Op) bool {
	switch op.(type) {
	case SetMesh, SetSchedule, SetSite, RemoveSite, LabelHost, SetPolicy:
		return true
	}
	return false
}

func (op Apply) apply(d *draft) {
	if len(op.Ops) == 0 || len(op.Ops) > maxOps {
		d.refuse("change-empty", "", "", "%d operations: want 1 to %d", len(op.Ops), maxOps)
		return
	}
	if i := slices.IndexFunc(op.Ops, func(o Op) bool { return o == nil || !applicable(o) }); i >= 0 {
		d.refuse("change-kind", "", "", "operation %d is none that may be done together with others", i+1)
		return
	}
	op.vacate(d)
	tested := false
	for _, o := range op.Ops {
		o.apply(d)
		_, isPolicy := o.(SetPolicy)
		tested = tested || isPolicy
	}
	// The tests of a policy that stays must not be broken by labels and sites that change.
	if !tested && d.next.Policy != nil && len(d.problems) == 0 && len(d.prev.testPolicy()) == 0 {
		d.problems = append(d.problems, d.next.testPolicy()...)
	}
	if op.Within != 0 {
		d.await(time.Duration(op.Within) * time.Second)
	}
}

// vacate takes the prefixes away from the sites that are set, so that they may swap them.
func (op Apply) vacate(d *draft) {
	for _, o := range op.Ops {
		set, ok := o.(SetSite)
		if old := d.next.Sites[set.Name]; ok && old != nil {
			empty := *old
			empty.Prefixes = nil
			write(d, "site", &d.next.Sites)[set.Name] = &empty
		}
	}
}

// tellOf tells what each operation did.
func (op Apply) tellOf(e Entry) string {
	var parts []string
	for i, o := range op.Ops {
		if i == maxTold {
			parts = append(parts, fmt.Sprintf("%d more", len(op.Ops)-i))
			break
		}
		raw, err := json.Marshal(o)
		if err != nil {
			return e.tellKeys()
		}
		one := e
		one.Kind, one.Op = o.Kind(), raw
		if h, ok := o.(LabelHost); ok { // told by its object: by its own one
			one.Objects = slices.DeleteFunc(slices.Clone(e.Objects), func(o ObjectChange) bool {
				return strings.HasPrefix(o.Key, "host/") && o.Key != "host/"+string(h.ID)
			})
		}
		parts = append(parts, one.Tell())
	}
	s := strings.Join(parts, "; ")
	if op.Within != 0 {
		s += "; taken back unless confirmed within " + FormatSpan(time.Duration(op.Within)*time.Second)
	}
	return s
}
