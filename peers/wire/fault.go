package wire

import "github.com/warren-mesh/warren/peers"

// A Fault is an error as both HTTP APIs tell it: problem details of RFC 9457 with a stable code for
// scripts, a hint for people, and all problems where there are several.
type Fault struct {
	Type     string          `json:"type,omitempty"     doc:"always about:blank"`
	Status   int             `json:"status"             doc:"the HTTP status"`
	Detail   string          `json:"detail"             doc:"what happened, to what"`
	Code     string          `json:"code"               doc:"stable, for scripts" example:"token-expired"`
	Hint     string          `json:"hint,omitempty"     doc:"what helps"`
	Problems []peers.Problem `json:"problems,omitempty" doc:"all problems of a refused change"`
	// RetryAfter is in seconds: come back then, not before.
	RetryAfter int `json:"retry_after,omitempty" doc:"seconds to wait before another try"`
}

// NewFault makes a fault.
func NewFault(status int, code, detail, hint string) *Fault {
	return &Fault{Type: "about:blank", Status: status, Code: code, Detail: detail, Hint: hint}
}

// FaultOf makes a fault of the problems of a refused change, of which there must be one. The first one
// speaks for all.
func FaultOf(status int, ps peers.Problems) *Fault {
	f := NewFault(status, ps[0].Code, ps.Error(), ps[0].Hint)
	if len(ps) == 1 {
		f.Detail = ps[0].Message
	}
	f.Problems = ps
	return f
}

// Error is the detail.
func (f *Fault) Error() string { return f.Detail }
