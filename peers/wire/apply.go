package wire

import (
	"time"

	"github.com/warren-mesh/warren/peers"
)

// Paths of what is declared, and of changes that wait to be confirmed.
const (
	PathDeclared = "/v1/declared" // GET and PUT
	PathPending  = "/v1/pending"  // GET: Pending or null; POST PathPending/{action}
)

// Ends of a pending change.
const (
	PendingConfirm = "confirm"
	PendingRevert  = "revert"
)

// A DeclaredView is what admins have said of the mesh so far (GET /v1/declared).
type DeclaredView struct {
	Revision peers.Revision `json:"revision"`
	Declared peers.Declared `json:"declared"`
}

// A DeclaredOrder makes the mesh what is declared (PUT /v1/declared), in one entry of the ledger.
type DeclaredOrder struct {
	Declared peers.Declared `json:"declared" doc:"a section that is missing stays as it is"`
	DryRun   bool           `json:"dry_run,omitempty" doc:"only tell what would come of it"`
	Expect   string         `json:"expect,omitempty"  doc:"digest of a dry run, which must still be the same" maxLength:"64"`
	Within   int            `json:"within,omitempty"  doc:"seconds until it is taken back unless confirmed; 0 for never" minimum:"0"`
	Why      string         `json:"why,omitempty"     doc:"for the audit log" maxLength:"500"`
}

// A DeclaredResult is what comes of it.
type DeclaredResult struct {
	Applied bool                   `json:"applied"`
	Digest  string                 `json:"digest" doc:"of all that would be done, and of what comes of it"`
	Changes []peers.DeclaredChange `json:"changes"`
	Consequences
}

// Consequences are what a change means to hosts.
type Consequences struct {
	Revision   peers.Revision     `json:"revision"   doc:"of the inventory, after it where it was applied"`
	Flows      []peers.FlowChange `json:"flows"      doc:"what opens and what closes"`
	Hosts      []string           `json:"hosts"      doc:"hosts that are at an end of these"`
	CutOff     []string           `json:"cut_off"    doc:"hosts that are left without any peer"`
	Warnings   []peers.Problem    `json:"warnings"`
	Unenforced []string           `json:"unenforced" doc:"hosts whose agents do not know policies"`
	Pending    *Pending           `json:"pending"    doc:"where it is to be confirmed"`
}

// A Pending is a change that is taken back unless it is confirmed.
type Pending struct {
	Revision peers.Revision `json:"revision"`
	By       string         `json:"by"`
	Since    time.Time      `json:"since"`
	Until    time.Time      `json:"until"`
	Left     float64        `json:"left"    doc:"seconds"`
	Objects  []string       `json:"objects" doc:"what it has changed, and what nobody else changes meanwhile"`
}
