package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Exit codes of every command.
const (
	ExitOK       = 0 // done, healthy
	ExitFailed   = 1 // tried and failed, or refused
	ExitUsage    = 2 // the words of the command are wrong; nothing was tried
	ExitDegraded = 3 // works, but not all of it
	ExitDown     = 4 // down, not enrolled or not reachable
)

// An Error is a failure as people and scripts are told it. Code is stable; Remedy says what helps, with
// a command where there is one.
type Error struct {
	Exit     int
	Code     string
	Message  string
	Remedy   string
	Problems []peers.Problem // all of them, where a change was refused for several reasons
}

// Error is the message alone.
func (e *Error) Error() string { return e.Message }

// Hint is the remedy.
func (e *Error) Hint() string { return e.Remedy }

// Fail makes an Error with ExitFailed.
func Fail(code, hint, format string, args ...any) *Error {
	return &Error{Exit: ExitFailed, Code: code, Message: fmt.Sprintf(format, args...), Remedy: hint}
}

// Usage makes an Error about the words of a command.
func Usage(hint, format string, args ...any) *Error {
	return &Error{Exit: ExitUsage, Code: "usage", Message: fmt.Sprintf(format, args...), Remedy: hint}
}

// An Exit ends a command with an exit code where all has been said on stdout, as with a degraded status.
type Exit int

// Error names the exit code; nobody prints it.
func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// explain makes an Error of whatever a command returned.
func explain(err error) *Error {
	var told *Error
	var fault *wire.Fault
	var problems peers.Problems
	switch {
	case errors.As(err, &told):
		return told
	case errors.As(err, &fault):
		return explainFault(fault)
	case errors.As(err, &problems) && len(problems) > 0:
		return explainFault(wire.FaultOf(0, problems))
	case errors.Is(err, context.Canceled):
		return Fail("interrupted", "", "interrupted")
	}
	return Fail("failed", "", "%v", err)
}

func explainFault(f *wire.Fault) *Error {
	e := Fail(f.Code, f.Hint, "%s", f.Detail)
	switch e.Code {
	case "":
		e.Code = "failed"
	case "unenrolled":
		e.Exit = ExitDown
	}
	if e.Remedy == "" && f.RetryAfter > 0 {
		e.Remedy = fmt.Sprintf("try again in %d s", f.RetryAfter)
	}
	if len(f.Problems) > 1 {
		e.Problems = f.Problems
	}
	return e
}
