package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/warren-mesh/warren/peers/pin"
	"github.com/warren-mesh/warren/peers/wire"
)

// Codes of the faults that are of this end's making.
const (
	CodeUnreachable = "controller-unreachable" // nobody answers at any address
	CodeMismatch    = "controller-mismatch"    // somebody answers who is not the controller
	CodeStream      = "controller-stream"      // the controller says what makes no sense
)

// failed turns an error of a connection into one that says what happened at which address.
func (t *transport) failed(err error) error {
	if errors.Is(err, pin.ErrPin) {
		return wire.NewFault(http.StatusBadGateway, CodeMismatch,
			fmt.Sprintf("another controller answers at %s: its identity is not the pinned one", t.address),
			"if the controller got a new identity while this host was away, tell it with a new token: warren enroll TOKEN; "+
				"if it was set up anew: warren leave --force, then warren enroll TOKEN")
	}
	return fmt.Errorf("%s: %v", t.address, err)
}

// isVerdict tells the answer of the controller itself from that of somebody else at its address: there
// is no point in asking at another address.
func isVerdict(err error) bool {
	f, ok := errors.AsType[*wire.Fault](err)
	return ok && f.Code != CodeMismatch && f.Code != CodeStream && f.Code != CodeUnreachable
}

// worst is the fault of not having got an answer of the controller anywhere: that somebody else answers says
// more than that nobody does.
func worst(failures []error) *wire.Fault {
	lines := make([]string, len(failures))
	for i, err := range failures {
		if f, ok := errors.AsType[*wire.Fault](err); ok {
			return f
		}
		lines[i] = err.Error()
	}
	return wire.NewFault(http.StatusBadGateway, CodeUnreachable,
		"no controller answers: "+strings.Join(lines, "; "),
		"does warren-controller run, and does a firewall let this host reach its TCP port?")
}

// faultOf reads the problem details of an answer that is no success.
func faultOf(status int, address string, raw []byte) *wire.Fault {
	var f wire.Fault
	if err := json.Unmarshal(raw[:min(len(raw), maxFault)], &f); err != nil || f.Code == "" {
		return wire.NewFault(status, CodeStream,
			fmt.Sprintf("%s answers with status %d and no reason: is it a controller?", address, status), "warren doctor")
	}
	f.Status = status
	return &f
}

// isRefusal reports whether the controller knows this host and does not want it: trying again at once
// changes nothing, though an admin may change his mind later.
func isRefusal(f *wire.Fault) bool {
	if !isVerdict(f) {
		return false
	}
	switch f.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict,
		http.StatusGone, http.StatusUpgradeRequired, http.StatusBadRequest:
		return true
	}
	return false
}
