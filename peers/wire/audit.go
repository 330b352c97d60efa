package wire

import "github.com/warren-mesh/warren/peers"

// Paths of the audit log.
const (
	PathAudit       = "/v1/audit"
	PathAuditVerify = "/v1/audit/verify"
)

// An AuditEntry is one change as the ledger keeps it, with what it did in words. It has all that its hash
// is made of, and no secret: those are never in the ledger.
type AuditEntry struct {
	peers.Entry
	What string `json:"what" doc:"in words"`
}

// An AuditPage is a part of the audit log (GET /v1/audit?after=REVISION). Next is where the following
// page begins: ask with after=NEXT until it is the head.
type AuditPage struct {
	Entries []AuditEntry   `json:"entries"`
	Next    peers.Revision `json:"next"    doc:"the revision up to which this page has looked"`
	Head    peers.Revision `json:"head"    doc:"the newest revision"`
}

// An AuditProgress tells how far a verification has come (GET /v1/audit/verify, a stream of these). The last
// one has Done or Fault set; the fault's first problem says at which revision the ledger is not right.
type AuditProgress struct {
	Revision peers.Revision `json:"revision"       doc:"verified up to here"`
	Head     peers.Revision `json:"head"           doc:"the newest revision"`
	Done     bool           `json:"done,omitempty"`
	Hash     peers.Hash     `json:"hash"           doc:"of the entry of that revision"`
	Fault    *Fault         `json:"fault,omitempty"`
}
