package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
)

// Codes of the problems that an agent finds itself.
const (
	codeBackend    = "backend"              // the kernel cannot be asked
	codeApply      = "apply-failed"         // a step was refused by the kernel
	codeIdentity   = "identity-damaged"     // who this host is, is lost
	codeMembership = "membership-damaged"   // where the controller is, is lost
	codePlan       = "plan-damaged"         // the plan on disk is of no use
	codeFallback   = "plan-previous"        // the plan before the last is used
	codeKey        = "key-damaged"          // a private key is of no use
	codeKeyAge     = "key-age"              // a rotation that is scheduled does not begin
	codePinHeir    = "controller-heir"      // the controller hands over to an identity that must not be believed
	codeHeir       = "identity-new"         // the new identity of this host cannot be made or taken
	codePins       = "pins-damaged"         // the identities met before are forgotten
	codeDisk       = "disk"                 // something cannot be kept
	codeDiskFull   = "disk-full"            // something cannot be kept for want of room
	codeClock      = "clock"                // the clocks of host and controller differ
	codeApproval   = "approval-pending"     // an admin must approve
	codeClockBack  = "clock-back"           // this host's clock went back
	codeBlackHole  = "mtu-black-hole"       // large packets are lost on the way
	codePort       = "port-taken"           // another program has the UDP port of an interface
	codeContested  = "contested"            // somebody undoes again and again what the agent does
	codeNoGateway  = "site-unreachable"     // no gateway of a site is fit
	codeLegDown    = "lan-down"             // this gateway has no way to its LAN
	codeLANSilent  = "lan-silent"           // its link is up and nobody answers there
	codeLANUnknown = "lan-check-unknown"    // an address that it is to ask cannot be asked
	codeWithdrawn  = "plan-withdrawn"       // networks of sites that cut this host off from the controller are left out
	codeEnrolment  = "enrolment-unfinished" // the controller has not answered yet
)

// hintAnew is what helps when this host cannot prove any more who it is.
const hintAnew = "restore the file from a backup, or enrol anew: warren leave --force, then warren enroll TOKEN"

// trouble is the problems there are, by what found them. Whoever looks again replaces what it found before.
type trouble map[source][]peers.Problem

// A source is a part of the agent that finds problems. Problems are shown in the order of their sources.
type source int

const (
	fromFiles source = iota
	fromEnrolment
	fromKeys
	fromHeir
	fromPinHeir
	fromKernel
	fromApply
	fromPlan
	fromRetreat
	fromPins
	fromConflicts
	fromTrials
	fromClock
	fromContests
	fromController
	fromGuard
	fromForwarding
	fromScout
	fromDisk
	lastSource = fromDisk
)

// set replaces what a source found.
func (t trouble) set(s source, ps ...peers.Problem) {
	if len(ps) == 0 {
		delete(t, s)
		return
	}
	t[s] = ps
}

// all are the problems in order; never nil.
func (t trouble) all() []peers.Problem {
	out := []peers.Problem{}
	for s := range lastSource + 1 {
		out = append(out, t[s]...)
	}
	return out
}

// diskProblem says that something cannot be kept.
func diskProblem(err error) peers.Problem {
	p := peers.Problem{Code: codeDisk, At: "data-dir", Message: err.Error(), Hint: "look at the disk: dmesg, mount"}
	if store.IsFull(err) {
		p.Code, p.Hint = codeDiskFull, "make room; the agent tries again by itself: df -h"
	}
	return p
}

// fileProblem says that a file which must be there is missing or damaged; nil for no error.
func fileProblem(code, what string, err error) []peers.Problem {
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s is missing", what)
	}
	return []peers.Problem{{Code: code, At: "data-dir/" + what, Message: err.Error(), Hint: hintAnew}}
}

// maxApplyProblems bounds what one failed turn shows.
const maxApplyProblems = 5

// applyProblems are the steps that the kernel refused.
func applyProblems(err error) []peers.Problem {
	var out []peers.Problem
	for i, e := range split(err) {
		if i == maxApplyProblems {
			break
		}
		if port, taken := takenPort(e); taken {
			out = append(out, peers.Problem{
				Code: codePort, At: fmt.Sprintf("port/%d", port), Message: e.Error(),
				Hint: fmt.Sprintf("end what has it, the agent tries again by itself (ss -lunp 'sport = :%d'); or choose another: "+
					"warren-agent run --port PORT", port),
			})
			continue
		}
		out = append(out, peers.Problem{
			Code: codeApply, Message: e.Error(), Hint: "the agent tries again by itself; see: journalctl -u warren-agent",
		})
	}
	return out
}

// takenPort tells the failure to get a UDP port that somebody else has. The agent never takes another one by itself:
// a port is agreed on with firewalls and other hosts.
func takenPort(err error) (port uint16, taken bool) {
	var e interface{ Taken() uint16 }
	if errors.As(err, &e) {
		return e.Taken(), true
	}
	return 0, false
}

// split takes joined errors apart.
func split(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// drop forgets problems of a source that have certain codes.
func (t trouble) drop(s source, codes ...string) {
	t.set(s, slices.DeleteFunc(slices.Clone(t[s]), func(p peers.Problem) bool { return slices.Contains(codes, p.Code) })...)
}

func sameProblem(have []peers.Problem, p peers.Problem) bool { return slices.Contains(have, p) }
