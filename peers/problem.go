package peers

import (
	"fmt"
	"strings"
)

// A Problem is one thing that is wrong, where it is, and what helps. Codes are stable: scripts match
// them. It is what a refused change reports, and what a host shows in its status.
type Problem struct {
	Code    string `json:"code"            doc:"stable, for scripts"                   example:"name-taken"`
	At      string `json:"at,omitempty"    doc:"what the problem is about"             example:"host/shop"`
	Message string `json:"message"         doc:"one sentence for people"`
	Hint    string `json:"hint,omitempty"  doc:"what helps, a command where there is one"`
}

// String is the problem in one line.
func (p Problem) String() string {
	s := p.Message
	if p.At != "" {
		s = p.At + ": " + s
	}
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// Problems are all problems of one change, in the order in which they were found, which does not depend
// on anything but the change and the inventory. As an error it is
// what Inventory.Apply returns; use errors.As to get at it.
type Problems []Problem

// Error is every problem on a line of its own.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Has reports whether one of the problems has the code.
func (ps Problems) Has(code string) bool {
	for _, p := range ps {
		if p.Code == code {
			return true
		}
	}
	return false
}

func (ps *Problems) addf(code, at, hint, format string, args ...any) {
	*ps = append(*ps, Problem{Code: code, At: at, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// err is ps as an error, nil where there is no problem.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}
